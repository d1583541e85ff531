"""Iceberg tables: their rows, the fold, and the transactions that publish it."""
