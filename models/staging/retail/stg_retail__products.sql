{{ table_rows(
    source('retail', 'products'),
    key=['product_id'],
    content={
        'name': {},
        'category': {'read': "if(trim(category) <> '', category, null)"},
        'unit_price': {
            'read': 'if(unit_price between 0 and 1000000000, unit_price, null)',
            'lost': 'is not a price',
        },
    },
    changed_at='updated_at',
) }}
