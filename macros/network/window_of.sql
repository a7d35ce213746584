{#- The start of the 5-minute window, counted from the epoch, that holds a moment. -#}
{% macro window_of(moment) -%}
    timestamp_seconds(unix_seconds({{ moment }}) div 300 * 300)
{%- endmacro %}

{#- How many windows the session timeout reaches, into the past and the future of an event. -#}
{% macro windows_of_timeout() -%}
    {{ return((var('session_timeout_seconds') + 299) // 300) }}
{%- endmacro %}

{#- The starts of the windows that lie at most the session timeout from a window, itself included. -#}
{% macro windows_around(window_start) -%}
    sequence(
        {{ window_start }} - interval {{ 300 * windows_of_timeout() }} second,
        {{ window_start }} + interval {{ 300 * windows_of_timeout() }} second,
        interval 300 second
    )
{%- endmacro %}
