"""What data means: contracts, source specs, and the Python that compiles them. No pipeline code lives here."""
