{#- The date of a moment in the time zone of the reports. -#}
{% macro report_date(column) -%}
    cast(from_utc_timestamp({{ column }}, '{{ var("report_timezone") }}') as date)
{%- endmacro %}
