-- The heart rates of each workout (gold.workout_bpm_summary)
select
    user_id, date, age, sex, city, state,
    round(min_bpm, 1) as min_bpm, round(avg_bpm, 1) as avg_bpm, round(max_bpm, 1) as max_bpm,
    num_readings
from gold.workout_bpm_summary
order by started_at, user_id
limit 10;

-- Time in the gym and exercising (gold.gym_summary)
select
    gym, mac_address, date, minutes_in_gym, minutes_exercising, visits, open_visits, workouts
from gold.gym_summary
order by date, gym, mac_address
limit 10;
