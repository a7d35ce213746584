{%- set reason -%}
    if(
        lower(trim(reason)) in ('correction', 'receipt', 'return', 'sale', 'transfer'),
        lower(trim(reason)),
        null
    )
{%- endset -%}
{{ table_rows(
    source('retail', 'stock_movements'),
    key=['movement_id'],
    content={
        'product_id': {'refused': 'is missing'},
        'warehouse': {
            'read': "if(trim(warehouse) <> '', warehouse, null)", 'refused': 'is missing'
        },
        'quantity': {
            'read': 'if(quantity between -1000000 and 1000000, quantity, null)',
            'refused': 'is not a number of pieces',
        },
        'reason': {
            'read': reason,
            'lost': 'is none of correction, receipt, return, sale, transfer',
        },
        'moved_at': {'is_time': true},
    },
    changed_at='recorded_at',
) }}
