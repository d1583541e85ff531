"""What the deduplication horizon costs."""
