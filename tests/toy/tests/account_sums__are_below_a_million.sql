select * from {{ ref('account_sums') }}
where total > 1000000
