"""Step labels of the graphs. State in savepoints hangs on them: a label that changes is one that a running job loses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest

from contracts.compiler.schemas import row_schema
from contracts.spec.project import Project
from contracts.spec.suppressions import NOTHING
from lake.location import Lake
from lake.raw.files import RawChunk
from pipelines.deliver.run import build
from pipelines.ingest.graph import IngestGraph, Panes
from pipelines.ingest.sources import Files, LandedRaw, RawSource, Topics
from transforms.cut import Cut
from transforms.deliver.dispatcher import Delivery
from transforms.deliver.table import TableLanes, shared_out
from transforms.immediate import RowsTopic
from transforms.kafka.connection import KafkaConnection
from transforms.read.partitions import PartitionProgress
from transforms.read.topics import KafkaSource
from transforms.readers.progress import ReaderProgress

LABELS = Path(__file__).parents[2] / "fixtures" / "step_labels.txt"
PROJECT = Project.load(Path(__file__).parents[3] / "examples" / "webshop")
SPEC, CONTRACT = PROJECT.source("web")
LAKE = Lake.at("/nowhere")
CHUNK = RawChunk("f", "/f", 0, 0, 1, 0, 1)
CONNECTION = KafkaConnection("localhost:29092", None)


def ingest(pipeline: beam.Pipeline, source: RawSource) -> None:
    IngestGraph(lake=LAKE, contract=CONTRACT, spec=SPEC, run_id="r").build(source, pipeline)


def ingest_kafka(pipeline: beam.Pipeline) -> None:
    source = KafkaSource(
        connection=CONNECTION, group="g", topic="web", topic_pattern=None, salts=(0,),
        readers=(ReaderProgress((PartitionProgress("web", "AAAA", 0, next=0),)),),
    )  # fmt: skip
    graph = IngestGraph(
        lake=LAKE, contract=CONTRACT, spec=SPEC, run_id="r", cut=Cut(window_s=60), panes=Panes(),
        immediate=RowsTopic(CONNECTION, "rows"),
    )  # fmt: skip
    graph.build(Topics(source, SPEC, LAKE), pipeline)


def deliver(pipeline: beam.Pipeline) -> None:
    lanes = TableLanes(
        lake=LAKE, table="validated.customer_event", schema=row_schema(CONTRACT), snapshot_id=1, start_us=0, end_us=1,
        destination="cdp", run_id="r", lanes=1, which="unsettled",
        readers=shared_out("validated.customer_event", "r", [], 1, 1), salts=(0,),
    )  # fmt: skip
    destination, contract = PROJECT.destination("cdp")
    build(Delivery(lake=LAKE, destination=destination, contract=contract, suppressions=NOTHING, run_id="r", lanes=lanes), pipeline)


GRAPHS: dict[str, Callable[[beam.Pipeline], None]] = {
    "ingest over files": lambda pipeline: ingest(pipeline, Files([CHUNK])),
    "ingest over Kafka": ingest_kafka,
    "replay": lambda pipeline: ingest(pipeline, LandedRaw([CHUNK], LAKE, SPEC)),
    "deliver": deliver,
}


@pytest.mark.parametrize("name", GRAPHS)
def test_step_labels_stay(name: str) -> None:
    pipeline = beam.Pipeline()
    GRAPHS[name](pipeline)
    steps = pipeline.to_runner_api().components.transforms.values()
    expected = LABELS.read_text().split(f"# {name}\n", 1)[1].split("\n\n", 1)[0].splitlines()
    assert sorted(step.unique_name for step in steps if not step.unique_name.startswith("ref_")) == expected
