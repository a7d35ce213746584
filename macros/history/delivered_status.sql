{#- What a row of staging says of its key. -#}
{% macro delivered_status() -%}
    case
        when reject_reason is not null then 'refused'
        when _op = 'delete' then 'deleted'
        else 'told'
    end
{%- endmacro %}
