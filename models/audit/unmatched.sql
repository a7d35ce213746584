{{ of_all_domains('unmatched') }}
