select * from {{ ref('other_sums') }}
where total > 1000000
