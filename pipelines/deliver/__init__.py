"""From validated rows to a destination."""
