{#- A mac address in its normal form (lower case, colons), or null. -#}
{% macro mac_address_of(column) -%}
    case
        when lower({{ trimmed(column) }}) rlike '^([0-9a-f]{2}:){5}[0-9a-f]{2}\\z' then lower({{ trimmed(column) }})
    end
{%- endmacro %}
