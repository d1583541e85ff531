"""The raw layer: files as received, landing logs, and what lies where in them."""
