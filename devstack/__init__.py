"""A local Kafka, Flink, Beam job server and Prism, each one pinned, for development and tests.

Needs Linux and a JDK; no container engine. Begin at ``stack.py``: ``Stack`` is what ``headrace stack`` and the tests share.
"""
