"""The graph itself: it can be built for input that never ends; sources that share bytes do not share outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import yaml
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from lake.location import Lake
from lake.raw.batch import RawBatch
from lake.tables.iceberg import published_files
from pipelines.ingest.graph import IngestGraph, Panes
from pipelines.ingest.run import IngestReport
from runners.direct import run_bounded
from tests.support import runs
from transforms.cut import Cut
from transforms.read.messages import MessageBatch

WEBSHOP = Path(__file__).parents[4] / "examples" / "webshop"
LINES = (
    '{"messageId":"m-1","type":"page","anonymousId":"a","originalTimestamp":"2026-11-02T10:00:00Z"}\n'
    '{"messageId":"m-2","type":"page","originalTimestamp":"2026-11-02T10:00:00Z"}\n'
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with two sources of one mapping, and a file."""
    web = yaml.safe_load((WEBSHOP / "sources" / "web.yaml").read_text())
    (tmp_path / "sources").mkdir()
    for name in ("web", "web2"):
        (tmp_path / "sources" / f"{name}.yaml").write_text(yaml.safe_dump({**web, "source": name}))
    (tmp_path / "headrace.yaml").write_text("lake: lake\nsources: [sources]\n")
    (tmp_path / "events.jsonl").write_text(LINES)
    return tmp_path


def ingest(project: Path, source: str) -> IngestReport:
    return runs.ingest(project / "lake", [project / "events.jsonl"], source, Project.load(project), max_rejected=1.0)


@dataclass(frozen=True)
class Given:
    """A source of the raw batches that a test has; endless: as if more could come."""

    batches: Sequence[MessageBatch]
    endless: bool = False

    def read(self, pipeline: beam.Pipeline) -> beam.PCollection[RawBatch]:
        """See RawSource."""
        raw = pipeline | beam.Create(self.batches, reshuffle=False) | beam.Map(lambda x: x).with_output_types(MessageBatch)
        raw.is_bounded = not self.endless
        return raw


def test_the_graph_is_built_for_input_that_never_ends(tmp_path: Path) -> None:
    spec, contract = Project.load(WEBSHOP).source("web")
    lake = Lake.at(str(tmp_path))
    graph = IngestGraph(lake=lake, contract=contract, spec=spec, run_id="r")
    with pytest.raises(ValueError, match="unbounded"):
        graph.build(Given([], endless=True), beam.Pipeline(runner=FnApiRunner()))
    graph = replace(graph, panes=Panes(late_s=30, commit_s=2))
    graph.build(Given([], endless=True), beam.Pipeline(runner=FnApiRunner()))


def test_a_file_that_another_source_landed_is_ingested_for_this_one_too(project: Path) -> None:
    first, second = ingest(project, "web"), ingest(project, "web2")
    assert [report.manifest["ingested_files"] for report in (first, second)] == [1, 1]
    assert (first.ledger.out, first.ledger.dead_letter) == (1, 1)
    # One dataset: the same event id is one row, whoever sent it; the other source's record is its duplicate.
    assert (second.ledger.duplicate, second.ledger.dead_letter) == (1, 1)
    letters = Lake.at(str(project / "lake")).catalog().load_table("ops.dead_letter").scan().to_arrow()
    assert sorted(letters.column("source").to_pylist()) == ["web", "web2"]


def test_a_source_that_changes_its_dataset_is_refused(project: Path) -> None:
    ingest(project, "web")
    contract = (WEBSHOP.parents[1] / "contracts" / "datasets" / "customer_event.v1.yaml").read_text()
    (project / "other.v1.yaml").write_text(contract.replace("name: customer_event", "name: other"))
    spec = yaml.safe_load((project / "sources" / "web.yaml").read_text())
    (project / "sources" / "web.yaml").write_text(yaml.safe_dump({**spec, "dataset": "other"}))
    (project / "headrace.yaml").write_text("lake: lake\nsources: [sources]\ndatasets: ['.']\n")
    with pytest.raises(ConfigurationError, match="new name"):
        ingest(project, "web")


def test_raw_files_of_one_lake_give_the_same_rows_in_another(project: Path) -> None:
    first = ingest(project, "web")
    raw = project / "lake" / "raw" / "source=web"
    again = runs.ingest(project / "other", [raw], "web", Project.load(project), max_rejected=1.0)
    assert (
        again.manifest["datasets"]["customer_event"]["content_hash"] == first.manifest["datasets"]["customer_event"]["content_hash"]
    )


def test_a_changed_column_type_is_refused_before_anything_is_landed(project: Path) -> None:
    ingest(project, "web")
    contract = (WEBSHOP.parents[1] / "contracts" / "datasets" / "customer_event.v1.yaml").read_text()
    changed = contract.replace(
        "{name: locale, logicalType: string, logicalTypeOptions: {maxLength: 64}}", "{name: locale, logicalType: integer}"
    )
    assert changed != contract
    (project / "customer_event.v1.yaml").write_text(changed)
    (project / "headrace.yaml").write_text("lake: lake\nsources: [sources]\ndatasets: ['.']\n")
    with pytest.raises(ConfigurationError, match=r"locale is string, the contract says int64"):
        ingest(project, "web2")


def test_late_rows_that_reach_far_back_are_folded_into_few_files(tmp_path: Path) -> None:
    """A wave of old events must not become a file per minute and shard."""
    spec, contract = Project.load(WEBSHOP).source("web")
    lake = Lake.at(str(tmp_path))
    cut = Cut(window_s=60, num_shards=1, allowed_lateness_s=60)
    graph = IngestGraph(lake=lake, contract=contract, spec=spec, run_id="r", cut=cut)
    graph.prepare()
    start_us, count = 1_793_613_600_000_000, 50  # 2026-11-02T10:00:00Z
    values = [
        f'{{"messageId":"m-{n}","type":"page","anonymousId":"a","originalTimestamp":"2026-11-02T10:{n:02d}:00Z"}}'.encode()
        for n in range(count)
    ]
    received = np.full(count, start_us + 86_400_000_000)
    batch = MessageBatch(["kafka:t:id:0"] * count, np.arange(count), received, received, values)
    run_bounded(partial(graph.build, Given([batch])))
    late = published_files(lake.catalog().load_table(graph.late_table))
    assert [(file.to_us - file.from_us, file.rows) for file in late] == [(3_600_000_000, count)]
