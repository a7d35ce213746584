with

versions as (
    select
        *,
        lead(valid_from) over user_versions as next_valid_from,
        lag(user_version_id) over user_versions is null as is_earliest
    from {{ ref('dim_users') }}
    window user_versions as (partition by user_id order by valid_from)
)

select *
from versions
where
    valid_to <> coalesce(next_valid_from, {{ end_of_time() }})
    or valid_from >= valid_to
    or is_first_version <> is_earliest
    or applies_from <> if(is_earliest, {{ beginning_of_time() }}, valid_from)
    or is_current <> (next_valid_from is null)
    or (
        is_deleted
        and coalesce(
            cast(born_on as string),
            sex,
            gender,
            first_name,
            last_name,
            street_address,
            city,
            state,
            zip
        ) is not null
    )
    or (change_type = 'delete' and not is_deleted)
    or (change_type = 'new' and is_deleted)
