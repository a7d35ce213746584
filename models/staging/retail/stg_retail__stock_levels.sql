{{ table_rows(
    source('retail', 'stock_levels'),
    key=['product_id', 'warehouse'],
    content={
        'reorder_point': {'read': pieces_of('reorder_point'), 'lost': 'is not a number of pieces'},
    },
    changed_at='updated_at',
) }}
