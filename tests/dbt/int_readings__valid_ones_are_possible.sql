select *
from {{ ref('int_readings') }}
where
    is_valid <> coalesce(bpm > 0 and bpm <= {{ var('wearables_max_bpm') }}, false)
    or reading_date <> cast(reading_at as date)
