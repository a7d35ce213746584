{%- set status -%}
    if(
        lower(trim(status)) in ('cancelled', 'paid', 'placed', 'shipped'), lower(trim(status)), null
    )
{%- endset -%}
{{ table_rows(
    source('retail', 'orders'),
    key=['order_id'],
    content={
        'customer_id': {},
        'status': {'read': status, 'refused': 'is none of cancelled, paid, placed, shipped'},
        'ordered_at': {'is_time': true},
    },
    changed_at='updated_at',
) }}
