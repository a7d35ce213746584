{%- set statuses = ['cancelled', 'paid', 'placed', 'shipped'] -%}
{{ table_rows(
    source('retail', 'orders'),
    key=['order_id'],
    content={
        'customer_id': {},
        'status': {
            'read': word_of('status', statuses), 'refused': 'is none of ' ~ statuses | join(', ')
        },
        'ordered_at': {'is_time': true},
    },
    changed_at='updated_at',
) }}
