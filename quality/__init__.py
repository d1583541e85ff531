"""Rules beyond one record: what a contract says of a partition of its rows, judged over the rows of a table."""
