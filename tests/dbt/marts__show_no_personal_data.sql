{#-
  No column of gold bears the name of one that is marked `meta.pii` anywhere in the project, but for the
  mac address, which the business asked for. Marts have enforced contracts, so what their YAML declares
  is what they hold.
-#}
-- depends_on: {{ ref('workout_bpm_summary') }}, {{ ref('workout_bpm_curve') }}
-- depends_on: {{ ref('gym_visits') }}, {{ ref('gym_summary') }}
{% set nodes = graph.nodes.values() | list + graph.sources.values() | list if execute else [] %}
{% set personal = [] %}
{% for node in nodes %}
{% for column in (node.columns or {}).values() if column.get('meta', {}).get('pii') %}
{% do personal.append(column.name) %}
{% endfor %}
{% endfor %}
{% if execute and 'first_name' not in personal %}
{% do exceptions.raise_compiler_error('meta.pii marks no first_name any more, so this test sees nothing.') %}
{% endif %}

with

shown (mart, column_name) as (
    values
    {% for node in nodes if node.resource_type == 'model' and node.config.schema == 'gold_build' %}
    {% for column in node.columns %}
    ('{{ node.name }}', '{{ column }}'),
    {% endfor %}
    {% endfor %}
    ('none', 'none')
)

select *
from shown
where
    column_name in (
        {% for column in personal | unique %}
        '{{ column }}'{{ ',' if not loop.last }}
        {% endfor %}
    )
    and column_name <> 'mac_address'
