"""Rows as events of a destination."""
