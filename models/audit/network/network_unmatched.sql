with

connections as (
    select * from {{ ref('consolidated') }}
    where not _is_deleted
),

unmatched as (
    select
        'telecom.connections' as source,
        'connections' as entity,
        reason,
        key,
        count(*) as num_events
    from (
        select
            inline(
                filter(
                    array(
                        struct(
                            'the device is not registered' as reason,
                            cast(device_id as string) as key,
                            customer_id is null as is_so
                        ),
                        struct(
                            'the server is not known' as reason,
                            cast(server_id as string) as key,
                            not is_server_known as is_so
                        ),
                        struct(
                            'a disconnect without a connect' as reason,
                            cast(session_id as string) as key,
                            event_type = 'disconnect' and not was_open as is_so
                        ),
                        struct(
                            'usage without a connect' as reason,
                            cast(session_id as string) as key,
                            event_type = 'usage' and not was_open as is_so
                        )
                    ),
                    reasons -> reasons.is_so
                )
            )
        from connections
    ) as found
    group by reason, key
)

select * from unmatched
