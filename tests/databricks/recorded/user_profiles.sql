-- the first build

create or replace table `main_test`.`snapshots`.`user_profiles`
    using delta
      as
    select
        user_id, changed_at, change_type,
        case when not dbt_is_deleted then born_on end as born_on,
        case when not dbt_is_deleted then sex end as sex,
        case when not dbt_is_deleted then gender end as gender,
        case when not dbt_is_deleted then first_name end as first_name,
        case when not dbt_is_deleted then last_name end as last_name,
        case when not dbt_is_deleted then street_address end as street_address,
        case when not dbt_is_deleted then city end as city,
        case when not dbt_is_deleted then state end as state,
        case when not dbt_is_deleted then zip end as zip,
        is_first_version,
        dbt_scd_id,
        changed_at as dbt_updated_at,
        changed_at as dbt_valid_from,
        dbt_valid_to,
        dbt_is_deleted,
        cast(1 as bigint) as _load_id
    from (
        select
            *,
            md5(coalesce(cast(user_id as string ), '')
         || '|' || coalesce(cast(changed_at as string ), '')
        ) as dbt_scd_id,
            row_number() over versions = 1 as is_first_version,
            lead(changed_at) over versions as dbt_valid_to,
            coalesce(
                last_value(
                    case
                        when change_type in ('new', 'delete')
                            then change_type = 'delete'
                    end,
                    true
                ) over (
                    partition by user_id
                    order by changed_at
                    rows between unbounded preceding and current row
                ),
                false
            ) as dbt_is_deleted
        from (select
    user_id,
    changed_at,
    change_type,
    born_on,
    sex,
    gender,
    first_name,
    last_name,
    street_address,
    city,
    state,
    zip
from `main_test`.`silver`.`int_profile_changes_resolved`) as changes
        window versions as (
            partition by user_id
            order by changed_at
        )
    ) as folded;

-- a later build

select case
        when user_id is null then concat('cast(null as ', typeof(user_id), ')')
        else concat(
            'cast(\'',
            replace(replace(cast(user_id as string), '\\', '\\\\'), '\'', '\\\''),
            '\' as ', typeof(user_id), ')'
        )
    end as user_id
                from (select distinct user_id from (
    select user_id from (
        select *
        from `main_test`.`silver`.`int_profile_changes`
        where
            _load_id <= 2
            and _load_id > 1
    )
))
                limit 1001;

create or replace temporary view `user_profiles__dbt_tmp` as
        select
            *,
            'insert' as dbt_change_type
        from (
    select
        user_id, changed_at, change_type,
        case when not dbt_is_deleted then born_on end as born_on,
        case when not dbt_is_deleted then sex end as sex,
        case when not dbt_is_deleted then gender end as gender,
        case when not dbt_is_deleted then first_name end as first_name,
        case when not dbt_is_deleted then last_name end as last_name,
        case when not dbt_is_deleted then street_address end as street_address,
        case when not dbt_is_deleted then city end as city,
        case when not dbt_is_deleted then state end as state,
        case when not dbt_is_deleted then zip end as zip,
        is_first_version,
        dbt_scd_id,
        changed_at as dbt_updated_at,
        changed_at as dbt_valid_from,
        dbt_valid_to,
        dbt_is_deleted,
        cast(2 as bigint) as _load_id
    from (
        select
            *,
            md5(coalesce(cast(user_id as string ), '')
         || '|' || coalesce(cast(changed_at as string ), '')
        ) as dbt_scd_id,
            row_number() over versions = 1 as is_first_version,
            lead(changed_at) over versions as dbt_valid_to,
            coalesce(
                last_value(
                    case
                        when change_type in ('new', 'delete')
                            then change_type = 'delete'
                    end,
                    true
                ) over (
                    partition by user_id
                    order by changed_at
                    rows between unbounded preceding and current row
                ),
                false
            ) as dbt_is_deleted
        from (select
    user_id,
    changed_at,
    change_type,
    born_on,
    sex,
    gender,
    first_name,
    last_name,
    street_address,
    city,
    state,
    zip
from (
            select relation_touched.*
            from `main_test`.`silver`.`int_profile_changes_resolved` as relation_touched
            left semi join (
            select col1 as user_id
            from values
                (cast('7' as bigint))
        ) as touched
                on relation_touched.user_id <=> touched.user_id
            where
            relation_touched.user_id in (cast('7' as bigint))
        )) as changes
        window versions as (
            partition by user_id
            order by changed_at
        )
    ) as folded
) as versions;

merge into `main_test`.`snapshots`.`user_profiles` as target
    using (
        select
            worked_out.user_id,
            worked_out.changed_at,
            worked_out.change_type,
            worked_out.born_on,
            worked_out.sex,
            worked_out.gender,
            worked_out.first_name,
            worked_out.last_name,
            worked_out.street_address,
            worked_out.city,
            worked_out.state,
            worked_out.zip,
            worked_out.is_first_version,
            coalesce(worked_out.dbt_scd_id, existing.dbt_scd_id) as dbt_scd_id,
            worked_out.dbt_updated_at,
            worked_out.dbt_valid_from,
            worked_out.dbt_valid_to,
            worked_out.dbt_is_deleted,
            worked_out._load_id,
            worked_out._is_worked_out is null as _is_removed
        from (select *, true as _is_worked_out from `user_profiles__dbt_tmp`) as worked_out
        full outer join (
            select dbt_scd_id
            from (
            select relation_touched.*
            from `main_test`.`snapshots`.`user_profiles` as relation_touched
            left semi join (
            select col1 as user_id
            from values
                (cast('7' as bigint))
        ) as touched
                on relation_touched.user_id <=> touched.user_id
            where
            relation_touched.user_id in (cast('7' as bigint))
        )
        ) as existing
            on worked_out.dbt_scd_id <=> existing.dbt_scd_id
    ) as source
    on
        source.dbt_scd_id <=> target.dbt_scd_id
        and
            target.user_id in (cast('7' as bigint))
    when matched and source._is_removed then delete
    when matched
        and not source._is_removed
        and (not (source.user_id <=> target.user_id) or not (source.changed_at <=> target.changed_at) or not (source.change_type <=> target.change_type) or not (source.born_on <=> target.born_on) or not (source.sex <=> target.sex) or not (source.gender <=> target.gender) or not (source.first_name <=> target.first_name) or not (source.last_name <=> target.last_name) or not (source.street_address <=> target.street_address) or not (source.city <=> target.city) or not (source.state <=> target.state) or not (source.zip <=> target.zip) or not (source.is_first_version <=> target.is_first_version) or not (source.dbt_updated_at <=> target.dbt_updated_at) or not (source.dbt_valid_from <=> target.dbt_valid_from) or not (source.dbt_valid_to <=> target.dbt_valid_to) or not (source.dbt_is_deleted <=> target.dbt_is_deleted))
        then update set
            target.user_id = source.user_id, target.changed_at = source.changed_at, target.change_type = source.change_type, target.born_on = source.born_on, target.sex = source.sex, target.gender = source.gender, target.first_name = source.first_name, target.last_name = source.last_name, target.street_address = source.street_address, target.city = source.city, target.state = source.state, target.zip = source.zip, target.is_first_version = source.is_first_version, target.dbt_scd_id = source.dbt_scd_id, target.dbt_updated_at = source.dbt_updated_at, target.dbt_valid_from = source.dbt_valid_from, target.dbt_valid_to = source.dbt_valid_to, target.dbt_is_deleted = source.dbt_is_deleted, target._load_id = source._load_id
    when not matched and not source._is_removed then insert
        (user_id, changed_at, change_type, born_on, sex, gender, first_name, last_name, street_address, city, state, zip, is_first_version, dbt_scd_id, dbt_updated_at, dbt_valid_from, dbt_valid_to, dbt_is_deleted, _load_id)
        values (source.user_id, source.changed_at, source.change_type, source.born_on, source.sex, source.gender, source.first_name, source.last_name, source.street_address, source.city, source.state, source.zip, source.is_first_version, source.dbt_scd_id, source.dbt_updated_at, source.dbt_valid_from, source.dbt_valid_to, source.dbt_is_deleted, source._load_id);

DROP VIEW IF EXISTS `user_profiles__dbt_tmp`;
