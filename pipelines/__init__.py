"""One file is one graph and one options dataclass."""
