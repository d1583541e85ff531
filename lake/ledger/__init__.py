"""What became of each source position."""
