"""Reconciliation: what should be at a destination, compared id by id with what it says that it has."""
