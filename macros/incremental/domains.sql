{#- The domain of a node, none where it has none; a data test belongs to the domain of what it reads. -#}
{% macro domain_of(node) %}
    {% if node.resource_type == 'test' %}
        {% for parent_id in node.depends_on.nodes if parent_id in graph.nodes and domain_of(graph.nodes[parent_id]) %}
            {{ return(domain_of(graph.nodes[parent_id])) }}
        {% endfor %}
    {% endif %}
    {{ return(node.config.get('meta', {}).get('domain')) }}
{% endmacro %}

{#- The nodes of a domain of these types (model, snapshot, seed, test). -#}
{% macro nodes_of(domain, resource_types) %}
    {% set found = [] %}
    {% for node in graph.nodes.values() if node.resource_type in resource_types and domain_of(node) == domain %}
        {% do found.append(node) %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}

{#- The tables of a domain that builds write: models that are no views, and snapshots. -#}
{% macro tables_of(domain) %}
    {{ return(nodes_of(domain, ['model', 'snapshot']) | rejectattr('config.materialized', 'equalto', 'view') | list) }}
{% endmacro %}

{#-
  What the answers of a domain stand on besides its events, by name: the vars that its list in the var
  `domains` names, and its seeds' files.
-#}
{% macro basis_of(domain) %}
    {% set basis = {} %}
    {% for name in var('domains')[domain] %}
        {% do basis.update({name: var(name)}) %}
    {% endfor %}
    {% for seed in nodes_of(domain, ['seed']) %}
        {% do basis.update({seed.name: local_md5(seed.checksum.checksum ~ tojson(seed.config.get('column_types')))}) %}
    {% endfor %}
    {{ return(basis) }}
{% endmacro %}

{#- Adds to `names` all models and snapshots that stand, at whatever distance, on the nodes with these ids. -#}
{% macro add_all_below(names, unique_ids) %}
    {% set below = [] %}
    {% for node in graph.nodes.values() if node.resource_type in ['model', 'snapshot'] and node.name not in names %}
        {% if node.depends_on.nodes | select('in', unique_ids) | first is defined %}
            {% do names.append(node.name) %}
            {% do below.append(node.unique_id) %}
        {% endif %}
    {% endfor %}
    {% if below %}
        {% do add_all_below(names, below) %}
    {% endif %}
{% endmacro %}
