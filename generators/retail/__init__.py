"""Customers, products, orders, refunds, stock and clicks of a shop."""
