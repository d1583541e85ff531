"""What changed around a lake between two moments, from its manifests and records: the one source for reports, alerts and triage."""
