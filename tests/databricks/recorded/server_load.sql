-- the first build

create or replace table `main_test`.`gold_build`.`server_load`
    using delta
      cluster by (window_date, window_start)
      as
    select server_id, location, window_start, devices_connected, devices_peak, bandwidth_used_mbps, bandwidth_p95_mbps, capacity_mbps, usage_rate, capacity_fault, is_overloaded, last_event_at, window_date
    from (
        with
instants as (
    select
        *,
        window_start + position * interval 5 second as instant
    from `main_test`.`silver`.`int_server_windows`
        lateral view posexplode(used_bps) grid as position, bps
    where not _is_deleted
),
versions as (
    select * from `main_test`.`silver`.`int_server_versions`
    where not _is_deleted
),
loads as (
    select
        instants.server_id,
        instants.window_start,
        instants.window_date,
        instants.devices_connected,
        instants.devices_peak,
        instants.last_event_at,
        count(*) as num_instants,
        sum(cast(instants.bps as decimal(20, 0))) as sum_bps,
        (
        cast(get(array_sort(collect_list(instants.bps)), cast(95 * (size(array_sort(collect_list(instants.bps))) - 1) div 100 as int)) as decimal(20, 0))
        * (100 - 95 * (size(array_sort(collect_list(instants.bps))) - 1) % 100)
        + cast(
            coalesce(get(array_sort(collect_list(instants.bps)), cast(95 * (size(array_sort(collect_list(instants.bps))) - 1) div 100 + 1 as int)), 0) as decimal(20, 0)
        )
        * (95 * (size(array_sort(collect_list(instants.bps))) - 1) % 100)
    )
            as p95_hundredfold,
        max_by(versions.location, instants.instant) as location,
        max_by(versions.capacity_bps, instants.instant) as capacity_bps,
        case
            when bool_or(versions.capacity_bps is null) then 'unknown'
            when bool_or(versions.capacity_bps = 0) then 'zero'
        end as capacity_fault,
        sum(
            cast(instants.bps as decimal(20, 0))
            / cast(nullif(versions.capacity_bps, 0) as decimal(16, 0))
        ) as sum_rate
    from instants
    left join versions
        on
            instants.server_id = versions.server_id
            and instants.instant >= versions.valid_from
            and instants.instant < versions.valid_to
    group by
        instants.server_id,
        instants.window_start,
        instants.window_date,
        instants.devices_connected,
        instants.devices_peak,
        instants.last_event_at
)
select
    server_id,
    location,
    window_start,
    devices_connected,
    devices_peak,
    cast(sum_bps as double) / (num_instants * 1000000) as bandwidth_used_mbps,
    cast(p95_hundredfold as double) / 100000000 as bandwidth_p95_mbps,
    cast(capacity_bps as double) / 1000000 as capacity_mbps,
    if(capacity_fault is null, cast(sum_rate as double) / num_instants, null) as usage_rate,
    capacity_fault,
    if(
        capacity_fault is null,
        p95_hundredfold
        >= 0.8 * 100 * cast(capacity_bps as decimal(18, 0)),
        null
    ) as is_overloaded,
    last_event_at,
    window_date
from loads
    ) as model_subq;

alter table `main_test`.`gold_build`.`server_load` add constraint devices_are_within_the_peak check (devices_connected between 0 and devices_peak);

alter table `main_test`.`gold_build`.`server_load` add constraint bandwidth_is_not_negative check (bandwidth_used_mbps >= 0 and bandwidth_p95_mbps >= 0);

alter table `main_test`.`gold_build`.`server_load` alter column server_id comment 'The server.', location comment 'Where the server stood at the window\'s last instant.', window_start comment 'When the window begins, UTC.', devices_connected comment 'Devices with an open session in the window\'s last moment.', devices_peak comment 'The most devices with an open session at one moment.', bandwidth_used_mbps comment 'Mean of the bandwidth in use at the instants of a 5-second grid, in Mbit/s.', bandwidth_p95_mbps comment '95th percentile of the bandwidth in use at these instants, exact, in Mbit/s.', capacity_mbps comment 'What the server could carry at the window\'s last instant, in Mbit/s; null where it is not known.', usage_rate comment 'Mean of bandwidth in use over capacity of the same instant; null where capacity_fault says why.', capacity_fault comment 'unknown or zero where the capacity was that at an instant of the window; null otherwise.', is_overloaded comment 'Whether the 95th percentile reached the share of the capacity in the var network_overloaded_from; null with a capacity_fault.', last_event_at comment 'The server\'s latest event in the window, UTC; null where it had none.', window_date comment 'The day of the window, UTC.';

-- a later build

select case
        when window_date is null then concat('cast(null as ', typeof(window_date), ')')
        else concat(
            'cast(\'',
            replace(replace(cast(window_date as string), '\\', '\\\\'), '\'', '\\\''),
            '\' as ', typeof(window_date), ')'
        )
    end as window_date, case
        when window_start is null then concat('cast(null as ', typeof(window_start), ')')
        else concat(
            'cast(\'',
            replace(replace(cast(window_start as string), '\\', '\\\\'), '\'', '\\\''),
            '\' as ', typeof(window_start), ')'
        )
    end as window_start, case
        when server_id is null then concat('cast(null as ', typeof(server_id), ')')
        else concat(
            'cast(\'',
            replace(replace(cast(server_id as string), '\\', '\\\\'), '\'', '\\\''),
            '\' as ', typeof(server_id), ')'
        )
    end as server_id
                from (select distinct window_date, window_start, server_id from (
    select
        window_date,
        window_start,
        server_id
    from (
        select *
        from `main_test`.`silver`.`int_server_windows`
        where
            _load_id <= 2
            and _load_id > 1
    )
    union all
    select
        known.window_date,
        known.window_start,
        known.server_id
        from `main_test`.`gold_build`.`server_load` as known
    inner join (
        select *
        from `main_test`.`silver`.`int_server_versions`
        where
            _load_id <= 2
            and _load_id > 1
    ) as changed
        on
            known.server_id = changed.server_id
            and window_start < changed.valid_to
            and window_start + interval 300 second > changed.valid_from
))
                limit 1001;

create or replace temporary view `server_load__dbt_tmp` as
      with
instants as (
    select
        *,
        window_start + position * interval 5 second as instant
    from (
            select relation_touched.*
            from `main_test`.`silver`.`int_server_windows` as relation_touched
            left semi join (
            select col1 as window_date, col2 as window_start, col3 as server_id
            from values
                (cast('2026-03-02' as date), cast('2026-03-02 10:00:00' as timestamp), cast('7' as bigint))
        ) as touched
                on relation_touched.window_date <=> touched.window_date and relation_touched.window_start <=> touched.window_start and relation_touched.server_id <=> touched.server_id
            where
            relation_touched.window_date in (cast('2026-03-02' as date))
             and relation_touched.window_start in (cast('2026-03-02 10:00:00' as timestamp))
             and relation_touched.server_id in (cast('7' as bigint))
        )
        lateral view posexplode(used_bps) grid as position, bps
    where not _is_deleted
),
versions as (
    select * from `main_test`.`silver`.`int_server_versions`
    where not _is_deleted
),
loads as (
    select
        instants.server_id,
        instants.window_start,
        instants.window_date,
        instants.devices_connected,
        instants.devices_peak,
        instants.last_event_at,
        count(*) as num_instants,
        sum(cast(instants.bps as decimal(20, 0))) as sum_bps,
        (
        cast(get(array_sort(collect_list(instants.bps)), cast(95 * (size(array_sort(collect_list(instants.bps))) - 1) div 100 as int)) as decimal(20, 0))
        * (100 - 95 * (size(array_sort(collect_list(instants.bps))) - 1) % 100)
        + cast(
            coalesce(get(array_sort(collect_list(instants.bps)), cast(95 * (size(array_sort(collect_list(instants.bps))) - 1) div 100 + 1 as int)), 0) as decimal(20, 0)
        )
        * (95 * (size(array_sort(collect_list(instants.bps))) - 1) % 100)
    )
            as p95_hundredfold,
        max_by(versions.location, instants.instant) as location,
        max_by(versions.capacity_bps, instants.instant) as capacity_bps,
        case
            when bool_or(versions.capacity_bps is null) then 'unknown'
            when bool_or(versions.capacity_bps = 0) then 'zero'
        end as capacity_fault,
        sum(
            cast(instants.bps as decimal(20, 0))
            / cast(nullif(versions.capacity_bps, 0) as decimal(16, 0))
        ) as sum_rate
    from instants
    left join versions
        on
            instants.server_id = versions.server_id
            and instants.instant >= versions.valid_from
            and instants.instant < versions.valid_to
    group by
        instants.server_id,
        instants.window_start,
        instants.window_date,
        instants.devices_connected,
        instants.devices_peak,
        instants.last_event_at
)
select
    server_id,
    location,
    window_start,
    devices_connected,
    devices_peak,
    cast(sum_bps as double) / (num_instants * 1000000) as bandwidth_used_mbps,
    cast(p95_hundredfold as double) / 100000000 as bandwidth_p95_mbps,
    cast(capacity_bps as double) / 1000000 as capacity_mbps,
    if(capacity_fault is null, cast(sum_rate as double) / num_instants, null) as usage_rate,
    capacity_fault,
    if(
        capacity_fault is null,
        p95_hundredfold
        >= 0.8 * 100 * cast(capacity_bps as decimal(18, 0)),
        null
    ) as is_overloaded,
    last_event_at,
    window_date
from loads;

insert into `main_test`.`gold_build`.`server_load` by name
        replace where
            (
        (
            window_date = cast('2026-03-02' as date) and
            window_start >= cast('2026-03-02 10:00:00' as timestamp) and window_start <= cast('2026-03-02 10:00:00' as timestamp)
        )
    )
            and (
                (window_date = cast('2026-03-02' as date) and window_start = cast('2026-03-02 10:00:00' as timestamp) and server_id in (cast('7' as bigint)))
            )
        select * from `server_load__dbt_tmp`;
