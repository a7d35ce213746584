{{ of_all_domains('rejects') }}
