{#-
  The rows that count of what files and pulls of a table have told: of a pulled key the last row alone, and of
  a business key that any pull has told, no row of a file. `told` are all rows of some business keys, `delivered`
  those of all.
-#}
{% macro rows_that_count(told, delivered, key) %}
    select told.*
    from (
        select
            *,
            count(_pull_key) over (partition by {{ key | join(', ') }}) > 0 as is_pulled
        from {{ told }}
    ) as told
    left join (
        select
            rows_of_key._pull_key,
            max(rows_of_key._pull_id) as _pull_id
        from {{ delivered }} as rows_of_key
        left semi join {{ told }} as asked on rows_of_key._pull_key = asked._pull_key
        group by rows_of_key._pull_key
    ) as last_pulls
        on told._pull_key = last_pulls._pull_key and told._pull_id = last_pulls._pull_id
    where not told.is_pulled or last_pulls._pull_key is not null
{% endmacro %}
