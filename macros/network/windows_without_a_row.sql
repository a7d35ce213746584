{#-
  How many windows of each of these periods have no row, of those that begin while a capacity is known:
  `num_windows`, a row for each version of the server. Nothing was used in them, so they count as zero.
-#}
{% macro windows_without_a_row(periods, loads, keys) %}
    select
        {% for key in keys -%}
        periods.{{ key }},
        {% endfor -%}
        unix_micros(least(versions.valid_to - interval 1 microsecond, periods.counted_until)) div 300000000
        - (unix_micros(greatest(versions.valid_from, periods.counted_from)) - 1) div 300000000
        - count(loads.window_start) as num_windows
    from {{ periods }} as periods
    inner join {{ ref('int_server_versions') }} as versions
        on
            periods.server_id = versions.server_id
            and not versions._is_deleted
            and versions.capacity_bps > 0
            and versions.valid_from <= periods.counted_until
            and periods.counted_from < versions.valid_to
    left join {{ loads }} as loads
        on
            {% for key in keys -%}
            periods.{{ key }} = loads.{{ key }} and
            {% endfor -%}
            versions.valid_from <= loads.window_start
            and versions.valid_to > loads.window_start
    group by
        {% for key in keys -%}
        periods.{{ key }},
        {% endfor -%}
        periods.counted_from,
        periods.counted_until,
        versions.valid_from,
        versions.valid_to
{% endmacro %}
