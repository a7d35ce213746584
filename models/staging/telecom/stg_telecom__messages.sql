{{ messages_of(source('telecom', 'kafka_multiplex'), ['connections']) }}
