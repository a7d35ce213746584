with

refunds as (
    select
        order_id,
        line,
        sum(amount) as refunded
    from {{ ref('int_refunds_counted') }}
    where not _is_deleted
    group by order_id, line
),

beyond as (
    select
        lines.order_id,
        lines.line,
        lines.gross_sales as sold,
        refunds.refunded
    from {{ ref('int_order_lines') }} as lines
    inner join refunds
        on
            lines.order_id = refunds.order_id
            and lines.line = refunds.line
            and lines.gross_sales < refunds.refunded
    where lines.is_priced and not lines._is_deleted
)

select * from beyond
