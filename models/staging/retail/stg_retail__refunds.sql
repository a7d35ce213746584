{{ table_rows(
    source('retail', 'refunds'),
    key=['refund_id'],
    content={
        'order_id': {'refused': 'is missing'},
        'line': {'refused': 'is missing'},
        'quantity': {
            'read': 'if(quantity between 0 and 1000000, quantity, null)',
            'lost': 'is not a number of pieces',
        },
        'amount': {
            'read': 'if(amount between 0 and 1000000000, amount, null)',
            'refused': 'is not an amount of money',
        },
        'refunded_at': {'is_time': true},
    },
    changed_at='recorded_at',
) }}
