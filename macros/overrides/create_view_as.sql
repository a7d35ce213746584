{#-
  dbt-spark 1.11.0 replaces a view; Spark drops it first, so a reader that asks in that moment finds none. A
  view that is there is left as it is where nothing of it has changed, else altered; but for one with a contract,
  whose columns' descriptions only a new one has. It can go when Spark replaces views in one step.
-#}
{% macro spark__create_view_as(relation, sql) -%}
    {% set existing = load_cached_relation(relation) %}
    {% set altered, has_contract = run_state()['altered'], model.config.contract.enforced %}
    {% set is_as_before = is_view_of(existing, sql | trim) and (has_contract or not should_full_refresh()) %}
    {% if is_as_before and not model.depends_on.nodes | select('in', altered) | list %}
        select 'unchanged'
    {% else %}
        {% do altered.append(model.unique_id) %}
        {% if existing and existing.is_view and not has_contract %}
            alter view {{ relation }} as {{ sql }}
        {% else %}
            {{ dbt.spark__create_view_as(relation, sql) }}
        {% endif %}
    {% endif %}
{%- endmacro %}

{% macro databricks__create_view_as(relation, sql) -%}
    {{ return(dbt.databricks__create_view_as(relation, sql)) }}
{%- endmacro %}

{#- Whether a relation, as dbt has listed it, is the view of a query. -#}
{% macro is_view_of(relation, query) %}
    {{ return(relation is not none and ('View Text: ' ~ query ~ '\nView Original Text: ') in (relation.information or '')) }}
{% endmacro %}
