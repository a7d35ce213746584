{{ table_rows(
    source('retail', 'refunds'),
    key=['refund_id'],
    content={
        'order_id': {'refused': 'is missing'},
        'line': {'refused': 'is missing'},
        'quantity': {'read': pieces_of('quantity'), 'lost': 'is not a number of pieces'},
        'amount': {'read': money_of('amount'), 'refused': 'is not an amount of money'},
        'refunded_at': {'is_time': true},
    },
    changed_at='recorded_at',
) }}
