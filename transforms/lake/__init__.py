"""The lake: raw files, Iceberg tables, the ledger and the manifests of runs."""
