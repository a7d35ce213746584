{#-
  What dbt tells of the nodes of a run, a row each in `audit.run_results`, in one append, the last thing a run does;
  nothing where none has done any work: views and skipped nodes do none. It is no reason for a run to fail: the
  script takes the fault in, and the log tells it. Of a node that is not green, the reason in at most 300 characters:
  the engine's error, where there is one, else the first lines. What stands in quotes may be anybody's data, and is
  left out.
-#}
{% macro note_results(results) %}
    {% set rows = [] %}
    {% set worked = [] %}
    {% for result in results if result.node.resource_type not in ['operation', 'exposure'] %}
        {% set node = result.node %}
        {% set status = result.status ~ '' %}
        {% set told = (result.message or '') ~ '' %}
        {% set errors = modules.re.findall('\\[[A-Z][A-Z0-9_.]+\\][^\\n]*', told[:20000]) %}
        {% set reason = (errors | first or told[:1000].split() | join(' '))[:1000] %}
        {% set began = result.timing | map(attribute='started_at') | select | first %}
        {% do rows.append({
            'node_id': node.unique_id, 'name': node.name, 'resource_type': node.resource_type ~ '',
            'domain': domain_of(graph.nodes.get(node.unique_id, node)), 'status': status,
            'started_at': began.strftime('%Y-%m-%dT%H:%M:%S.%fZ') if began else none,
            'seconds': result.execution_time, 'failures': result.failures,
            'message': none if status in ['success', 'pass']
                else modules.re.sub("'[^']*'|\"[^\"]*\"", '...', reason)[:300]
        }) %}
        {% if status != 'skipped' and (status != 'success' or node.config.materialized != 'view') %}
            {% do worked.append(node.name) %}
        {% endif %}
    {% endfor %}
    {% if worked %}
        {% set table = audit_table('run_results') %}
        {% set columns = 'node_id string, name string, resource_type string, domain string, status string, '
            ~ 'started_at timestamp, seconds double, failures bigint, message string' %}
        {% set script %}
            begin
                declare exit handler for sqlexception begin select 'failed' as outcome; end;
                {%- if not load_cached_relation(table) %}
                create table if not exists {{ table }} (
                    invocation_id string, command string, run_started_at timestamp, cut bigint, {{ columns }},
                    recorded_at timestamp
                ) using delta;
                {%- endif %}
                insert into {{ table }} by name
                select
                    '{{ invocation_id }}' as invocation_id,
                    '{{ flags.WHICH }}' as command,
                    cast('{{ run_started_at.strftime('%Y-%m-%dT%H:%M:%S.%fZ') }}' as timestamp) as run_started_at,
                    {{ run_state()['cut'] }} as cut,
                    inline(from_json('{{ quoted(tojson(rows)) }}', 'array<struct<{{ columns }}>>')),
                    current_timestamp() as recorded_at;
            end
        {% endset %}
        {% if run_query(script).rows | length %}
            {% do log('The results of this run could not be noted in ' ~ table ~ '; nothing else is the worse for it.', info=true) %}
        {% endif %}
    {% endif %}
{% endmacro %}
