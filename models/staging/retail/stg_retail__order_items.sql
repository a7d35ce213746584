{{ table_rows(
    source('retail', 'order_items'),
    key=['order_id', 'line'],
    content={
        'product_id': {'refused': 'is missing'},
        'quantity': {'read': pieces_of('quantity'), 'refused': 'is not a number of pieces'},
        'unit_price': {'read': price_of(money_of('unit_price'), 'quantity'), 'lost': 'is not a price'},
    },
    changed_at='updated_at',
) }}
