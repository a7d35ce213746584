{#- The domain of a node, none where it has none; a test belongs to the domain of what it reads. -#}
{% macro domain_of(node) %}
    {% if node.resource_type in ['test', 'unit_test'] %}
        {% for parent_id in node.depends_on.nodes if parent_id in graph.nodes and domain_of(graph.nodes[parent_id]) %}
            {{ return(domain_of(graph.nodes[parent_id])) }}
        {% endfor %}
    {% endif %}
    {{ return(node.config.get('meta', {}).get('domain')) }}
{% endmacro %}

{#- The nodes of a domain of these types (model, snapshot, seed, test). -#}
{% macro nodes_of(name, resource_types) %}
    {% set found = [] %}
    {% for node in graph.nodes.values() if node.resource_type in resource_types and domain_of(node) == name %}
        {% do found.append(node) %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}

{#- The tables of a domain that builds write: models that are no views, and snapshots. -#}
{% macro tables_of(name) %}
    {{ return(nodes_of(name, ['model', 'snapshot']) | rejectattr('config.materialized', 'equalto', 'view') | list) }}
{% endmacro %}

{#-
  What the answers of a domain stand on besides its events, by name: the vars that its list in the var
  `domains` names, and its seeds' files.
-#}
{% macro basis_of(name) %}
    {% set basis = {} %}
    {% for key in var('domains')[name] %}
        {% do basis.update({key: var(key)}) %}
    {% endfor %}
    {% for seed in nodes_of(name, ['seed']) %}
        {% do basis.update({seed.name: local_md5(seed.checksum.checksum ~ tojson(seed.config.get('column_types')))}) %}
    {% endfor %}
    {{ return(basis) }}
{% endmacro %}

{#- The ids of nodes and of all models and snapshots that stand on them, at whatever distance. -#}
{% macro with_all_below(unique_ids) %}
    {% set found = unique_ids | list %}
    {% for node in graph.nodes.values() if node.resource_type in ['model', 'snapshot'] and node.unique_id not in found %}
        {% do found.append(node.unique_id) if node.depends_on.nodes | select('in', unique_ids) | list %}
    {% endfor %}
    {{ return(found if found | length == unique_ids | length else with_all_below(found)) }}
{% endmacro %}
