"""Pipelines as templates: parameters made from options dataclasses, and what Dataflow and Kubernetes need to launch them."""
