{#- The start of the 5-minute window, counted from the epoch, that holds a moment. -#}
{% macro window_of(moment) -%}
    timestamp_seconds(unix_seconds({{ moment }}) div 300 * 300)
{%- endmacro %}

{#- The starts of the windows from one moment to another, of both their windows too. -#}
{% macro windows_between(moment, later_moment) -%}
    sequence({{ window_of(moment) }}, {{ window_of(later_moment) }}, interval 300 second)
{%- endmacro %}

{#- The starts of the windows that lie at most the session timeout, made up to whole windows, from a moment. -#}
{% macro windows_around(moment) -%}
    {%- set around = ' interval ' ~ (var('network_session_timeout_seconds') + 299) // 300 * 300 ~ ' second' -%}
    {{ windows_between(moment ~ ' -' ~ around, moment ~ ' +' ~ around) }}
{%- endmacro %}
