"""Sources of raw records: all give batches that the decoder takes."""
