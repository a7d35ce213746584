{{ table_rows(
    source('retail', 'customers'),
    key=['customer_id'],
    content={
        'name': {},
        'email': {},
        'region': {'read': text_of('region')},
    },
    changed_at='updated_at',
) }}
