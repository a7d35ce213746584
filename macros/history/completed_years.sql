{#- Age in completed years on a date. Someone born on 29 February completes a year on 1 March of a year
    that has no such day. -#}
{% macro completed_years(born_on, on_date) -%}
    year({{ on_date }}) - year({{ born_on }})
    - case
        when date_format({{ on_date }}, 'MMdd') < date_format({{ born_on }}, 'MMdd') then 1
        else 0
    end
{%- endmacro %}
