"""The command line, ``headrace``."""
