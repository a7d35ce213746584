-- the first build

create schema if not exists `main_test`.`gold`;

create view `main_test`.`gold`.`bandwidth_summary` comment 'What kinds of devices on what kinds of plans take of the bandwidth. One row per device type, speed class of the plan and day.
' as select device_type, speed_class, date, devices_connected, devices_disconnected, bandwidth_mbps, share_of_bandwidth, share_of_high_speed_customers from `main_test`.`gold_build`.`bandwidth_summary` version as of 1;

create view `main_test`.`gold`.`customer_segments` comment 'How lately, how often and for how much customers buy, by their orders that are not cancelled. Each score goes from 1, the worst fifth of the customers with orders, to 5, and equals have equal ones. One row per customer who is there, or of whom there is an order.
' as select customer_id, recency_days, frequency, monetary, r, f, m, segment, order_days, first_ordered_on from `main_test`.`gold_build`.`customer_segments` version as of 1;

create view `main_test`.`gold`.`gym_summary` comment 'Time in the gym and time exercising. One row per gym, mac address and date of login.
' as select gym, mac_address, date, minutes_in_gym, minutes_exercising, user_id, visits, open_visits, workouts from `main_test`.`gold_build`.`gym_summary` version as of 1;

create view `main_test`.`gold`.`gym_visits` comment 'Each visit to a gym with the time spent exercising in it. One row per gym, mac address and login.
' as select gym, mac_address, date, login_at, logout_at, minutes_in_gym, minutes_exercising, user_id, status, workouts from `main_test`.`gold_build`.`gym_visits` version as of 1;

create view `main_test`.`gold`.`heavy_users` comment 'What each customer received from each server on a day, against the server\'s other customers of the day. One row per customer, day and server.
' as select customer_id, date, server_id, gigabytes, share_of_server, times_median, is_heavy, suggested_limit_mbps, others_share_of_time_short from `main_test`.`gold_build`.`heavy_users` version as of 1;

create view `main_test`.`gold`.`inventory_alerts` comment 'When a stock was low: at or under the reorder point of the moment. An alert opens with the movement or the new reorder point after which it is low, and closes with the one after which it is not. All that happens at one instant is one. One row per product, warehouse and moment of opening.
' as select product_id, warehouse, opened_at, on_hand, reorder_point, closed_at, days_of_cover from `main_test`.`gold_build`.`inventory_alerts` version as of 1;

create view `main_test`.`gold`.`inventory_daily` comment 'What entered and left the warehouses. One row per product, warehouse and day with a movement.
' as select product_id, warehouse, date, opening, received, issued, sold, closing from `main_test`.`gold_build`.`inventory_daily` version as of 1;

create view `main_test`.`gold`.`product_conversion` comment 'How products are looked at, and whether those who look buy. One row per product and day with a click.
' as select product_id, date, views, adds, buys, conversion_rate from `main_test`.`gold_build`.`product_conversion` version as of 1;

create view `main_test`.`gold`.`sales_by_region_product` comment 'What was sold where, and given back. Region and category are those of the order\'s moment, the first known ones before any was known; a line counts on the day of its order, a refund on its own. Cancelled orders and their refunds do not count. One row per day, region, product and category.
' as select date, region, product_id, category, orders, units, gross_sales, refunds, net_sales, lines_without_price from `main_test`.`gold_build`.`sales_by_region_product` version as of 1;

create view `main_test`.`gold`.`server_load` comment 'How many devices each server carries and how much of it is in use, in windows of 5 minutes up to the report time. One row per server and window in which a session was open or an event happened.
' as select server_id, location, window_start, devices_connected, devices_peak, bandwidth_used_mbps, bandwidth_p95_mbps, capacity_mbps, usage_rate, capacity_fault, is_overloaded, last_event_at, window_date from `main_test`.`gold_build`.`server_load` version as of 1;

create view `main_test`.`gold`.`server_upgrade_candidates` comment 'Which servers need more capacity, from their load in the windows of the last days up to the report time, from the window of the server\'s first event on. A window without a row in `server_load` counts as zero where the capacity was known, and not zero, at its beginning, else not. One row per server, all of them.
' as select server_id, location, capacity_mbps, usage_rate_p95, overloaded_windows, days_overloaded, recommended_capacity_mbps, reason from `main_test`.`gold_build`.`server_upgrade_candidates` version as of 1;

create view `main_test`.`gold`.`server_weekly` comment 'Whether demand for each server grows, and whether its customers feel it: a week against the one before. Weeks begin on Monday in the time zone of the reports; the last one reaches as far as the report time. A change is this week\'s figure less that of the week before, null where either is; a week without a row is none to compare with. One row per server and week in which a session was open or an event happened.
' as select server_id, week_start, devices_peak, devices, usage_rate_p95, share_of_time_short, devices_peak_change, devices_change, usage_rate_p95_change, share_of_time_short_change from `main_test`.`gold_build`.`server_weekly` version as of 1;

create view `main_test`.`gold`.`subscribed_vs_received` comment 'Whether customers get what they pay for: what they received while they asked for something, against their plan. A sample stands for the time to the next one, at most a minute. One row per customer and day.
' as select customer_id, date, plan_mbps, received_p50_mbps, received_p95_mbps, share_of_time_short, gets_what_was_sold from `main_test`.`gold_build`.`subscribed_vs_received` version as of 1;

create view `main_test`.`gold`.`workout_bpm_curve` comment 'The heart rates of each workout session that has ended, minute by minute. A minute is 60 s, counted from the start of the session, the first is 1; a reading belongs to minute n when it came more than n - 1 minutes after the start and at most n, as it belongs to a workout when start < time <= end. The last minute may be shorter; one without a valid reading has no row. One row per user, workout, session and minute.
' as select user_id, workout_id, session_id, minute, num_readings, min_bpm, avg_bpm, max_bpm from `main_test`.`gold_build`.`workout_bpm_curve` version as of 1;

create view `main_test`.`gold`.`workout_bpm_summary` comment 'The heart rates of each workout session that has ended, with the profile its user had when it started. One row per user, workout and session.
' as select user_id, date, workout_id, session_id, age, sex, city, state, min_bpm, avg_bpm, max_bpm, gender, num_readings, num_invalid, started_at, ended_at from `main_test`.`gold_build`.`workout_bpm_summary` version as of 1;

-- a later build

alter view `main_test`.`gold`.`bandwidth_summary` as select device_type, speed_class, date, devices_connected, devices_disconnected, bandwidth_mbps, share_of_bandwidth, share_of_high_speed_customers from `main_test`.`gold_build`.`bandwidth_summary` version as of 2;

alter view `main_test`.`gold`.`customer_segments` as select customer_id, recency_days, frequency, monetary, r, f, m, segment, order_days, first_ordered_on from `main_test`.`gold_build`.`customer_segments` version as of 2;

alter view `main_test`.`gold`.`gym_summary` as select gym, mac_address, date, minutes_in_gym, minutes_exercising, user_id, visits, open_visits, workouts from `main_test`.`gold_build`.`gym_summary` version as of 2;

alter view `main_test`.`gold`.`gym_visits` as select gym, mac_address, date, login_at, logout_at, minutes_in_gym, minutes_exercising, user_id, status, workouts from `main_test`.`gold_build`.`gym_visits` version as of 2;

alter view `main_test`.`gold`.`heavy_users` as select customer_id, date, server_id, gigabytes, share_of_server, times_median, is_heavy, suggested_limit_mbps, others_share_of_time_short from `main_test`.`gold_build`.`heavy_users` version as of 2;

alter view `main_test`.`gold`.`inventory_alerts` as select product_id, warehouse, opened_at, on_hand, reorder_point, closed_at, days_of_cover from `main_test`.`gold_build`.`inventory_alerts` version as of 2;

alter view `main_test`.`gold`.`inventory_daily` as select product_id, warehouse, date, opening, received, issued, sold, closing from `main_test`.`gold_build`.`inventory_daily` version as of 2;

alter view `main_test`.`gold`.`product_conversion` as select product_id, date, views, adds, buys, conversion_rate from `main_test`.`gold_build`.`product_conversion` version as of 2;

alter view `main_test`.`gold`.`sales_by_region_product` as select date, region, product_id, category, orders, units, gross_sales, refunds, net_sales, lines_without_price from `main_test`.`gold_build`.`sales_by_region_product` version as of 2;

alter view `main_test`.`gold`.`server_load` as select server_id, location, window_start, devices_connected, devices_peak, bandwidth_used_mbps, bandwidth_p95_mbps, capacity_mbps, usage_rate, capacity_fault, is_overloaded, last_event_at, window_date from `main_test`.`gold_build`.`server_load` version as of 2;

alter view `main_test`.`gold`.`server_upgrade_candidates` as select server_id, location, capacity_mbps, usage_rate_p95, overloaded_windows, days_overloaded, recommended_capacity_mbps, reason from `main_test`.`gold_build`.`server_upgrade_candidates` version as of 2;

alter view `main_test`.`gold`.`server_weekly` as select server_id, week_start, devices_peak, devices, usage_rate_p95, share_of_time_short, devices_peak_change, devices_change, usage_rate_p95_change, share_of_time_short_change from `main_test`.`gold_build`.`server_weekly` version as of 2;

alter view `main_test`.`gold`.`subscribed_vs_received` as select customer_id, date, plan_mbps, received_p50_mbps, received_p95_mbps, share_of_time_short, gets_what_was_sold from `main_test`.`gold_build`.`subscribed_vs_received` version as of 2;

alter view `main_test`.`gold`.`workout_bpm_curve` as select user_id, workout_id, session_id, minute, num_readings, min_bpm, avg_bpm, max_bpm from `main_test`.`gold_build`.`workout_bpm_curve` version as of 2;

alter view `main_test`.`gold`.`workout_bpm_summary` as select user_id, date, workout_id, session_id, age, sex, city, state, min_bpm, avg_bpm, max_bpm, gender, num_readings, num_invalid, started_at, ended_at from `main_test`.`gold_build`.`workout_bpm_summary` version as of 2;

create schema if not exists `main_test`.`gold`;
