"""The report: a static site of pages that open with their answers.

    gold, audit --ask--> data --wearables, network, retail--> parts --render--> site/*.html, *.csv

The domains' modules say sentences, charts and tables, and nothing of HTML.
"""
