"""Runnable examples; not installed."""
