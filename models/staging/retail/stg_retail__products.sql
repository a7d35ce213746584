{{ table_rows(
    source('retail', 'products'),
    key=['product_id'],
    content={
        'name': {},
        'category': {'read': text_of('category')},
        'unit_price': {'read': money_of('unit_price'), 'lost': 'is not a price'},
    },
    changed_at='updated_at',
) }}
