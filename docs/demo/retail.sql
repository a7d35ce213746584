-- What sells where (gold.sales_by_region_product)
select
    region, sum(units) as units, sum(gross_sales) as gross_sales, sum(refunds) as refunds,
    sum(net_sales) as net_sales
from gold.sales_by_region_product
group by region
order by net_sales desc
limit 5;

-- Which customers matter, and which have gone (gold.customer_segments)
select
    segment, count(*) as customers, round(avg(recency_days), 1) as mean_recency_days,
    sum(monetary) as monetary
from gold.customer_segments
group by segment
order by customers desc, segment;

-- What is to be ordered first (gold.stock_status, as fresh as what has arrived)
select
    product_id, warehouse, on_hand, reorder_point, round(days_of_cover, 1) as days_of_cover
from gold.stock_status
where is_low
order by days_of_cover nulls last, product_id, warehouse
limit 10;

-- What people look at, and how much of it they buy (gold.product_conversion)
select
    product_id, sum(views) as views, sum(adds) as adds, sum(buys) as buys,
    round(avg(conversion_rate), 3) as mean_conversion_rate_of_a_day
from gold.product_conversion
group by product_id
order by views desc, product_id
limit 5;
