"""Replays: planned, run onto a branch, compared, promoted, rolled back, and all of it on record."""
