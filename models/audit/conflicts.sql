{{ of_all_domains('conflicts') }}
