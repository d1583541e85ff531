"""Everything at rest: files of a lake, raw layer, tables, ledger, runs, receipts. No PTransforms."""
