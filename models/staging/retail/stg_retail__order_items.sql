{{ table_rows(
    source('retail', 'order_items'),
    key=['order_id', 'line'],
    content={
        'product_id': {'refused': 'is missing'},
        'quantity': {
            'read': 'if(quantity between 0 and 1000000, quantity, null)',
            'refused': 'is not a number of pieces',
        },
        'unit_price': {
            'read': price_of('if(unit_price between 0 and 1000000000, unit_price, null)', 'quantity'),
            'lost': 'is not a price',
        },
    },
    changed_at='updated_at',
) }}
