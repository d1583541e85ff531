"""Delivery beside the client libraries of the destinations: the same events to the same endpoint at the same limits."""
