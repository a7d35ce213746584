{#- The mean is a quotient of floats, so it may pass an extreme by the last digit. -#}
select *
from {{ ref('workout_bpm_summary') }}
where
    min_bpm <= 0
    or max_bpm > {{ var('wearables_max_bpm') }}
    or avg_bpm < min_bpm - 0.000001
    or avg_bpm > max_bpm + 0.000001
    or num_readings < 0
    or num_invalid < 0
    or (num_readings > 0) <> (min_bpm is not null)
    or (num_readings > 0) <> (avg_bpm is not null)
    or (num_readings > 0) <> (max_bpm is not null)
    or ended_at <= started_at
