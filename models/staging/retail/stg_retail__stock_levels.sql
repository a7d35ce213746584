{{ table_rows(
    source('retail', 'stock_levels'),
    key=['product_id', 'warehouse'],
    content={
        'reorder_point': {
            'read': 'if(reorder_point between 0 and 1000000, reorder_point, null)',
            'lost': 'is not a number of pieces',
        },
    },
    changed_at='updated_at',
) }}
