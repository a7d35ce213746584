with

rows_by_file as (
    select
        entity,
        concat_ws('-', id, line) as key,
        changed_at,
        num_rows
    from {{ ref('int_shop_rows_told') }}
    where not is_pulled
    union all
    {% for relation, entity, key, changed_at in [
        (ref('int_refunds_delivered'), 'refunds', ['refund_id'], 'recorded_at'),
        (ref('int_stock_levels_delivered'), 'stock_levels', ['product_id', 'warehouse'],
            'updated_at'),
        (ref('int_stock_movements_delivered'), 'stock_movements', ['movement_id'],
            'recorded_at'),
    ] -%}
    select
        '{{ entity }}' as entity,
        concat_ws('-', {{ key | join(', ') }}) as key,
        {{ changed_at }} as changed_at,
        count(*) as num_rows
    from {{ relation }}
    where _pull_id is null
    group by {{ key | join(', ') }}, {{ changed_at }}
    union all
    {% endfor -%}
    select
        'clicks' as entity,
        cast(click_id as string) as key,
        min(clicked_at) as changed_at,
        count(*) as num_rows
    from {{ ref('int_clicks') }}
    group by click_id
),

conflicts as (
    select
        entity,
        key,
        changed_at as event_at,
        num_rows - 1 as num_conflicts
    from rows_by_file
    where num_rows > 1
)

select * from conflicts
