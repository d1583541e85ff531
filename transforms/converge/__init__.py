"""The fold: published tables as the union of everything that was ever seen, whatever the order."""
