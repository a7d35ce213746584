{#- Ends the run, before it has written anything, if it reads what no build has made. A test that a build
    takes along fails for itself; a view that brings domains together names those that are built. -#}
{% macro refuse_what_is_not_built() %}
    {% set missing = [] %}
    {% set seen = {} %}
    {% for node in graph.nodes.values() if node.unique_id in selected_resources %}
        {% set is_exempt = (node.resource_type == 'test' and flags.WHICH != 'test')
            or (node.resource_type == 'model' and not node.config.meta.domain) %}
        {% set parents = [] if is_exempt else node.depends_on.nodes %}
        {% for parent_id in parents if parent_id not in selected_resources and parent_id not in seen %}
            {% do seen.update({parent_id: true}) %}
            {% set parent = graph.nodes.get(parent_id) %}
            {% if parent and not adapter.get_relation(parent.database, parent.schema, parent.alias) %}
                {% do missing.append(parent.schema ~ '.' ~ parent.alias) %}
            {% endif %}
        {% endfor %}
    {% endfor %}
    {% if missing %}
        {% set others = ' and ' ~ (missing | length - 3) ~ ' more' if missing | length > 3 else '' %}
        {% do exceptions.raise_compiler_error(
            'Not built yet: ' ~ missing[:3] | join(', ') ~ others
            ~ '. Run: dbt build, or once data has come (lakehouse land, lakehouse generate): '
            ~ 'lakehouse run'
        ) %}
    {% endif %}
{% endmacro %}
