"""PTransforms over batches of events, and what they stand on: file formats and the lake."""
