"""Rebuilding windows from raw: which raw reaches them, how it is read, and what came out differently."""
