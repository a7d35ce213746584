{%- set texts = ['dob', 'sex', 'gender', 'first_name', 'last_name'] -%}
{%- set address_texts = ['street_address', 'city', 'state', 'zip'] -%}
with

messages as (
    {{ fields_of_messages(
        ref('stg_sbit__messages'), 'user_info',
        'user_id string, update_type string, timestamp string, dob string, sex string,
        gender string, first_name string, last_name string,
        address struct<street_address: string, city: string, state: string, zip: string>',
        'timestamp'
    ) }}
),

shaped as (
    select
        *,
        message is null as is_tombstone,
        array_except(
            array('dob', 'sex', 'gender', 'first_name', 'last_name', 'address'),
            json_object_keys(message)
        ) as missing,
        array_compact(array(
            {% for name in texts -%}
            if({{ is_container('message', [name], 'fields.' ~ name) }}, '{{ name }}', null),
            {% endfor -%}
            {% for name in address_texts -%}
            if(
                {{ is_container('message', ['address', name], 'fields.address.' ~ name) }},
                '{{ name }}',
                null
            ),
            {% endfor -%}
            if(
                fields.address is null and from_json(message, 'address string').address is not null,
                'address',
                null
            )
        )) as misshapen
    from messages
),

typed as (
    select
        fields,
        is_tombstone,
        is_time_as_written,
        missing,
        misshapen,
        {{ integer_of('if(is_tombstone, message_key, fields.user_id)') }} as user_id,
        if(is_tombstone, 'delete', lower({{ trimmed('fields.update_type') }})) as change_type,
        if(
            fields.dob rlike '^[0-9]{2}/[0-9]{2}/(?!0000)[0-9]{4}\\z',
            cast(try_to_timestamp(fields.dob, 'MM/dd/yyyy') as date),
            null
        ) as born_on,
        {% for name in texts -%}
        if(array_contains(misshapen, '{{ name }}'), null, fields.{{ name }})
            as {{ 'dob_text' if name == 'dob' else name }},
        {% endfor -%}
        {% for name in address_texts -%}
        if(array_contains(misshapen, '{{ name }}'), null, fields.address.{{ name }}) as {{ name }},
        {% endfor -%}
        if(
            is_tombstone,
            message_at,
            {{ epoch_to_timestamp('fields.timestamp', 'is_time_as_written') }}
        ) as changed_at,
        raw_text,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from shaped
),

judged as (
    select
        * except (fields, is_tombstone, is_time_as_written, missing, misshapen),
        case
            when fields is null and not is_tombstone then 'value is not one JSON object'
            when user_id is null then 'user_id is not a whole number'
            when change_type is null or change_type not in ('new', 'update', 'delete')
                then 'update_type is none of new, update, delete'
            else
                {{ time_fault(
                    'sbit', 'timestamp', 'changed_at',
                    'fields.timestamp', 'is_time_as_written'
                ) }}
        end as reject_reason,
        nullif(
            concat_ws(
                '; ',
                -- A delete needs its user and its time alone.
                'missing: '
                || nullif(if(change_type = 'delete', '', array_join(missing, ', ')), ''),
                'of another shape: ' || nullif(array_join(misshapen, ', '), ''),
                if(
                    dob_text is not null and born_on is null,
                    'dob is not a date as MM/dd/yyyy',
                    null
                )
            ),
            ''
        ) as field_reject_reason
    from typed
)

select * from judged
