{{ config(unique_key=['id', 'account'], tblproperties={'delta.enableChangeDataFeed': 'true'}) }}

{% do touch(keys=['id'], query='select id from ' ~ arrivals(ref('int_events'))) %}

select
    id,
    account,
    amount,
    event_at,
    cast(event_at as date) as date,
    {{ technical_columns() }}
from {{ only_touched(ref('int_events')) }}
where not _is_deleted
qualify row_number() over (partition by id order by event_at desc, amount desc, account desc) = 1
