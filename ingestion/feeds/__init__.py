"""One module a way in: each gives a streaming DataFrame of a declared table's rows as they came."""
