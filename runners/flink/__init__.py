"""The Flink runner: submission, REST interface, Python workers."""
