{#-
  The SQL of a view of `audit` that brings domains together: the rows of `<domain>_<name>` of each domain that
  is built.
-#}
{% macro of_all_domains(name) %}
    {% set built = [] %}
    {% for domain in var('domains') %}
        {% set view = ref(domain ~ '_' ~ name) %}
        {% do built.append(view) if env_var('DBT_LINT', '') or load_cached_relation(view) %}
    {% endfor %}
    {{ return(all_of(built, model.columns)) }}
{% endmacro %}

{#- The query of all rows of views, or of none where there is no view. -#}
{% macro all_of(views, columns) -%}
    {% for view in views -%}
select {{ columns | join(', ') }} from {{ view }}
        {{- '\nunion all\n' if not loop.last }}
    {%- else -%}
select
    {% for name, column in columns.items() -%}
    cast(null as {{ column.data_type }}) as {{ name }}{{ ',' if not loop.last }}
    {% endfor -%}
where false
    {%- endfor %}
{%- endmacro %}
