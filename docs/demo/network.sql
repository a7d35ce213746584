-- What each server carries at this moment (gold.server_status)
select
    server_id, location, as_of, devices_connected,
    round(bandwidth_used_mbps, 1) as bandwidth_used_mbps, capacity_mbps,
    round(usage_rate, 3) as usage_rate, is_overloaded
from gold.server_status
order by usage_rate desc nulls last, server_id
limit 10;

-- Which servers need more capacity, and how much (gold.server_upgrade_candidates)
select
    server_id, location, capacity_mbps, round(usage_rate_p95, 3) as usage_rate_p95,
    overloaded_windows, recommended_capacity_mbps, reason
from gold.server_upgrade_candidates
order by usage_rate_p95 desc nulls last, server_id
limit 10;

-- Who gets least of what was sold (gold.subscribed_vs_received)
select
    customer_id, date, plan_mbps, round(received_p50_mbps, 1) as received_p50_mbps,
    round(share_of_time_short, 3) as share_of_time_short, gets_what_was_sold
from gold.subscribed_vs_received
order by share_of_time_short desc nulls last, customer_id
limit 5;
