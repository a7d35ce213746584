{{ config(materialized='view') }}

select * from {{ ref('int_connections_recent') }}
union all
select * from {{ ref('int_connections_arrived') }}
