{#-
  Overrides dbt's own: a table without a watermark is of unknown standing (its first build broke off,
  or a table above it was replaced), so it is built from all loads.
-#}
{% macro should_full_refresh() %}
    {% set wanted = config.get('full_refresh') %}
    {% if wanted is none %}
        {% set wanted = flags.FULL_REFRESH %}
    {% endif %}
    {{ return(wanted or (has_watermark(model) and watermark() is none)) }}
{% endmacro %}
