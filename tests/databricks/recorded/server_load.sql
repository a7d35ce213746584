-- the first build

select * from (
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
        sum(instants.bps) as sum_bps,
        (
        get(array_sort(collect_list(instants.bps)), cast(95 * (size(array_sort(collect_list(instants.bps))) - 1) div 100 as int)) * (100 - 95 * (size(array_sort(collect_list(instants.bps))) - 1) % 100)
        + coalesce(get(array_sort(collect_list(instants.bps)), cast(95 * (size(array_sort(collect_list(instants.bps))) - 1) div 100 + 1 as int)), 0)
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
    ) as __dbt_sbq
    where false
    limit 0;

select * from (
        select
    cast(null as bigint)
 as server_id,
    cast(null as string)
 as location,
    cast(null as timestamp)
 as window_start,
    cast(null as bigint)
 as devices_connected,
    cast(null as bigint)
 as devices_peak,
    cast(null as double)
 as bandwidth_used_mbps,
    cast(null as double)
 as bandwidth_p95_mbps,
    cast(null as double)
 as capacity_mbps,
    cast(null as double)
 as usage_rate,
    cast(null as string)
 as capacity_fault,
    cast(null as boolean)
 as is_overloaded,
    cast(null as timestamp)
 as last_event_at,
    cast(null as date)
 as window_date
    ) as __dbt_sbq
    where false
    limit 0;

SELECT
    table_catalog,
    table_schema,
    table_name,
    filter_name,
    target_columns
  FROM `main_test`.`information_schema`.`row_filters`
  WHERE table_catalog = 'main_test'
    AND table_schema = 'gold_build'
    AND table_name = 'server_load';

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
        sum(instants.bps) as sum_bps,
        (
        get(array_sort(collect_list(instants.bps)), cast(95 * (size(array_sort(collect_list(instants.bps))) - 1) div 100 as int)) * (100 - 95 * (size(array_sort(collect_list(instants.bps))) - 1) % 100)
        + coalesce(get(array_sort(collect_list(instants.bps)), cast(95 * (size(array_sort(collect_list(instants.bps))) - 1) div 100 + 1 as int)), 0)
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

SELECT column_name
  FROM `main_test`.`information_schema`.`columns`
  WHERE table_catalog = 'main_test'
    AND table_schema = 'gold_build'
    AND table_name = 'server_load'
    AND is_nullable = 'NO';

SELECT kcu.constraint_name, kcu.column_name
  FROM `main_test`.information_schema.key_column_usage kcu
  WHERE kcu.table_catalog = 'main_test'
    AND kcu.table_schema = 'gold_build'
    AND kcu.table_name = 'server_load'
    AND kcu.constraint_name = (
      SELECT constraint_name
      FROM `main_test`.information_schema.table_constraints
      WHERE table_catalog = 'main_test'
        AND table_schema = 'gold_build'
        AND table_name = 'server_load'
        AND constraint_type = 'PRIMARY KEY'
    )
  ORDER BY kcu.ordinal_position;

SELECT
    kcu.constraint_name,
    kcu.column_name AS from_column,
    ukcu.table_catalog AS to_catalog,
    ukcu.table_schema AS to_schema,
    ukcu.table_name AS to_table,
    ukcu.column_name AS to_column
  FROM `main_test`.information_schema.key_column_usage kcu
  JOIN `main_test`.information_schema.referential_constraints rc
    ON kcu.constraint_catalog = rc.constraint_catalog
    AND kcu.constraint_schema = rc.constraint_schema
    AND kcu.constraint_name = rc.constraint_name
  JOIN `main_test`.information_schema.key_column_usage ukcu
    ON rc.unique_constraint_catalog = ukcu.constraint_catalog
    AND rc.unique_constraint_schema = ukcu.constraint_schema
    AND rc.unique_constraint_name = ukcu.constraint_name
    AND kcu.ordinal_position = ukcu.ordinal_position
  WHERE kcu.table_catalog = 'main_test'
    AND kcu.table_schema = 'gold_build'
    AND kcu.table_name = 'server_load'
    AND kcu.constraint_name IN (
      SELECT constraint_name
      FROM `main_test`.information_schema.table_constraints
      WHERE table_catalog = 'main_test'
        AND table_schema = 'gold_build'
        AND table_name = 'server_load'
        AND constraint_type = 'FOREIGN KEY'
    )
  ORDER BY kcu.ordinal_position;

SELECT
    column_name,
    mask_name,
    using_columns
  FROM `system`.`information_schema`.`column_masks`
  WHERE table_catalog = 'main_test'
    AND table_schema = 'gold_build'
    AND table_name = 'server_load';

SELECT
    table_catalog,
    table_schema,
    table_name,
    filter_name,
    target_columns
  FROM `main_test`.`information_schema`.`row_filters`
  WHERE table_catalog = 'main_test'
    AND table_schema = 'gold_build'
    AND table_name = 'server_load';

SHOW TBLPROPERTIES `main_test`.`gold_build`.`server_load`;

describe extended `main_test`.`gold_build`.`server_load`;

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
        sum(instants.bps) as sum_bps,
        (
        get(array_sort(collect_list(instants.bps)), cast(95 * (size(array_sort(collect_list(instants.bps))) - 1) div 100 as int)) * (100 - 95 * (size(array_sort(collect_list(instants.bps))) - 1) % 100)
        + coalesce(get(array_sort(collect_list(instants.bps)), cast(95 * (size(array_sort(collect_list(instants.bps))) - 1) div 100 + 1 as int)), 0)
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

DESCRIBE TABLE EXTENDED `server_load__dbt_tmp` AS JSON;

DESCRIBE TABLE EXTENDED `main_test`.`gold_build`.`server_load` AS JSON;

insert into `main_test`.`gold_build`.`server_load` by name
        replace where
            (
        (
            window_date = cast('2026-03-02' as date) and
            window_start >= cast('2026-03-02 10:00:00' as timestamp) and window_start <= cast('2026-03-02 10:00:00' as timestamp)
        )
    )
            and ((window_date = cast('2026-03-02' as date) and window_start = cast('2026-03-02 10:00:00' as timestamp) and server_id in (cast('7' as bigint))))
        select * from `server_load__dbt_tmp`;
