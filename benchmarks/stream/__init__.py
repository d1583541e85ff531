"""Load on the streaming path."""
