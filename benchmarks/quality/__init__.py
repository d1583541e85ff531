"""Anomalies with known truth: what baselines find, how late, and how often they are wrong; beside others on the same data."""
