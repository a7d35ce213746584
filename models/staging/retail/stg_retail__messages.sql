{{ messages_of(source('retail', 'clicks'), ['clicks']) }}
