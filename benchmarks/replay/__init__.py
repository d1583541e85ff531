"""How fast a replay is beside the ingest that landed the same records, and what memory both take."""
