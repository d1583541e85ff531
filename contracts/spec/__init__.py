"""What users write: contracts, sources, destinations, suppressions, the project; read and checked."""
