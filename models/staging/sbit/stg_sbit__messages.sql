{{ messages_of(source('sbit', 'kafka_multiplex'), ['user_info', 'workout', 'bpm', 'gym']) }}
