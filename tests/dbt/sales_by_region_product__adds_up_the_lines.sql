{#-
  Whatever their regions and categories, the lines of a product and day are in the mart once. Days whose
  lines have changed since the mart last looked are left out.
-#}
with

sums as (
    select
        date,
        product_id,
        units,
        gross_sales,
        gross_sales - refunds - net_sales as difference,
        0 as _load_id
    from {{ ref('sales_by_region_product') }}
    union all
    select
        date,
        product_id,
        if(_is_deleted, 0, -quantity) as units,
        if(_is_deleted, 0, -gross_sales) as gross_sales,
        0 as difference,
        _load_id
    from {{ ref('int_order_lines') }}
)

select
    date,
    product_id
from sums
group by date, product_id
having
    max(_load_id) <= {{ cut() }}
    and (sum(units) <> 0 or sum(gross_sales) <> 0 or max(abs(difference)) <> 0)
