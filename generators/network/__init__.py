"""Servers, customers, their devices and connections."""
