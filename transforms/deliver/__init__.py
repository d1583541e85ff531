"""Delivery: rows of a dataset to a destination, in order per lane, each accounted for by a receipt."""
