{#- The price of one in a line of an order, or null where the line would be worth over ten billion: what lines
    are worth adds up, and money has 16 digits. -#}
{% macro price_of(price, quantity) -%}
    if(coalesce({{ quantity }}, 0) * {{ price }} <= 10000000000, {{ price }}, null)
{%- endmacro %}
