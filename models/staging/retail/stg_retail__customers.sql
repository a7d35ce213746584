{{ table_rows(
    source('retail', 'customers'),
    key=['customer_id'],
    content={
        'name': {},
        'email': {},
        'region': {'read': "if(trim(region) <> '', region, null)"},
    },
    changed_at='updated_at',
) }}
