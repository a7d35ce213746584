{%- set reasons = ['correction', 'receipt', 'return', 'sale', 'transfer'] -%}
{{ table_rows(
    source('retail', 'stock_movements'),
    key=['movement_id'],
    content={
        'product_id': {'refused': 'is missing'},
        'warehouse': {'read': text_of('warehouse'), 'refused': 'is missing'},
        'quantity': {'read': pieces_of('quantity', -1000000), 'refused': 'is not a number of pieces'},
        'reason': {'read': word_of('reason', reasons), 'lost': 'is none of ' ~ reasons | join(', ')},
        'moved_at': {'is_time': true},
    },
    changed_at='recorded_at',
) }}
