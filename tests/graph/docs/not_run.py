"""Commands of pages that no test runs, and why. An entry that fits no block fails; a block that is not here is run.

A block is named by its page and the beginning of its first command; ``*`` names all blocks of a page.
"""

from __future__ import annotations

_MAKE = "make: the tests themselves run in what it makes, or it takes minutes"
_STREAM = "Kafka and Flink: tests/stack and tests/faults start both and run ingest, produce, status and job verbs on them"
_CLUSTER = "a cluster of the reader's own"
_CLOUD = "a registry and a cloud of the reader's own"
_RUNBOOK = "a failure: tests/graph/docs/test_runbooks.py makes it, and gives the commands of the page"
_STREAM_RUNBOOK = "a failure of a stream: tests/stack/docs/test_runbooks_of_streams.py makes it, and gives the commands of the page"

NOT_RUN: dict[tuple[str, str], str] = {
    ("README.md", "make demo "): f"{_MAKE}; tests/graph/docs runs examples.webshop.demo, which make demo runs",
    (
        "README.md",
        "make demo-stream",
    ): "three minutes of Kafka and Flink, and no test runs it; tests/stack/examples runs what it produces",
    ("README.md", "headrace stack up"): _STREAM,
    ("docs/index.md", "make demo"): f"{_MAKE}; tests/graph/docs runs examples.webshop.demo, which make demo runs",
    ("docs/tutorial.md", "make dev"): _MAKE,
    (
        "docs/guides/airflow.md",
        "pip install",
    ): "it installs into the environment that it is run in: Airflow's, which make airflow makes",
    ("docs/guides/avro-and-registries.md", "headrace stack up --with registry"): _STREAM,
    ("docs/guides/avro-and-registries.md", "headrace contract register"): "test_registry_topics.py registers at a real registry",
    ("docs/guides/delivery.md", "export CDP_WRITE_KEY=dev-write-key\nheadrace stack up --with cdp"): _STREAM,
    ("docs/guides/delivery.md", "headrace status --lake build/lake"): _STREAM,
    ("docs/guides/flink-on-kubernetes.md", "*"): _CLUSTER,
    ("docs/guides/flink-on-machines.md", "*"): _CLUSTER,
    ("docs/guides/gates.md", "headrace quality accept"): "nothing of the demo is held; tests/graph/quality accepts and releases",
    ("docs/guides/local-stack.md", "headrace stack up"): _STREAM,
    ("docs/guides/local-stack.md", "headrace stack up --only airflow"): "Airflow: tests/faults/templates/airflow starts it",
    (
        "docs/guides/object-storage.md",
        "*",
    ): "a bucket: tests/stack/lake/storage and test_bucket.py of tests/stack/pipelines run on the emulator",
    ("docs/guides/reconcile.md", "headrace reconcile segment"): "an export of the reader's own; delivery.md runs reconcile",
    ("docs/guides/scale-out.md", "*"): _STREAM,
    ("docs/guides/streaming-jobs.md", "*"): _STREAM,
    ("docs/guides/streaming.md", "headrace stack up"): "tests/stack/docs/test_streaming_page.py runs it",
    ("docs/guides/streaming.md", "python -m examples.webshop.produce"): "tests/stack/docs/test_streaming_page.py runs it",
    ("docs/guides/templates.md", "headrace template build"): _CLOUD,
    ("docs/runbooks/backfill.md", "*"): _RUNBOOK,
    ("docs/runbooks/catalog.md", "*"): _RUNBOOK,
    ("docs/runbooks/deliver.md", "*"): _RUNBOOK,
    ("docs/runbooks/disk-full.md", "*"): _RUNBOOK,
    ("docs/runbooks/drift.md", "*"): _RUNBOOK,
    ("docs/runbooks/frontier.md", "*"): _STREAM_RUNBOOK,
    ("docs/runbooks/gate.md", "*"): _RUNBOOK,
    ("docs/runbooks/ingest.md", "*"): _RUNBOOK,
    ("docs/runbooks/ledger.md", "*"): _RUNBOOK,
    ("docs/runbooks/replay.md", "*"): _RUNBOOK,
    ("docs/runbooks/rollback.md", "*"): _RUNBOOK,
    ("docs/runbooks/upgrade.md", "*"): _STREAM_RUNBOOK,
}
