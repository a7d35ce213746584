{#- The distinct values of a one-column query as a list of literals, asked at run time: what prunes
    files has to stand in the text of the statement. `null` where there are none. -#}
{% macro literals(query) -%}
    {%- if cannot_ask() -%}
        {{ query }}
    {%- elif execute -%}
        {%- set values = run_query(
            'select distinct ' ~ literal_of('value') ~ ' from (' ~ query ~ ') as asked (value)'
        ).columns[0].values() | list -%}
        {{ (values or ['null']) | join(', ') }}
    {%- endif -%}
{%- endmacro %}
