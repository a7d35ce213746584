with

messages as (
    {{ fields_of_messages(
        ref('stg_retail__messages'), 'clicks',
        'click_id string, session_id string, customer_id string, product_id string, action string,
        clicked_at string',
        'clicked_at'
    ) }}
),

typed as (
    select
        message,
        fields,
        is_time_as_written,
        {{ integer_of('fields.click_id') }} as click_id,
        if(
            {{ is_container('message', ['session_id'], 'fields.session_id') }},
            null,
            if(trim(fields.session_id) <> '', fields.session_id, null)
        ) as session_id,
        {{ integer_of('fields.customer_id') }} as customer_id,
        {{ integer_of('fields.product_id') }} as product_id,
        lower({{ trimmed('fields.action') }}) as action,
        {{ epoch_to_timestamp('fields.clicked_at', 'is_time_as_written') }} as clicked_at,
        raw_text,
        field_reject_reason as envelope_fault,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from messages
),

judged as (
    select
        * except (message, fields, is_time_as_written, envelope_fault),
        case
            when message is null then 'value is null'
            when fields is null then 'value is not one JSON object'
            when click_id is null then 'click_id is not a whole number'
            when session_id is null then 'session_id is missing'
            when product_id is null then 'product_id is not a whole number'
            when action is null or action not in ('add', 'buy', 'view')
                then 'action is none of add, buy, view'
            else
                {{ time_fault(
                    'retail', 'clicked_at', 'clicked_at',
                    'fields.clicked_at', 'is_time_as_written'
                ) }}
        end as reject_reason,
        coalesce(
            envelope_fault,
            if(
                fields.customer_id is not null and customer_id is null,
                'customer_id is not a whole number',
                null
            )
        ) as field_reject_reason
    from typed
)

select * from judged
