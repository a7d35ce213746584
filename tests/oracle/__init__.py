"""What must come of delivered files, in plain Python apart from Spark and SQL, a folder a domain.

It reads the files' contents itself; of the generators it knows no more than the delivered tables.
"""
