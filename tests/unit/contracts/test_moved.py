"""Jobs of development versions go on: their graphs hold classes by the names that modules had then."""

from __future__ import annotations

import gzip
import importlib
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import PipelineVisitor
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.utils.timestamp import MIN_TIMESTAMP

from contracts.moved import MOVED, MOVED_PACKAGES, new_name
from transforms.read.messages import MessageBatch
from transforms.read.partitions import PartitionProgress
from transforms.readers.progress import ReaderProgress
from transforms.readers.restriction import reader_name

ROOT = Path(__file__).parents[3]
# The graphs of ``headrace ingest web --input kafka://…`` and ``headrace deliver cdp`` of version 0.1.0 of before the move.
GRAPHS = Path(__file__).parents[2] / "fixtures" / "upgrade"


class _Functions(PipelineVisitor):
    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def visit_transform(self, node: beam.pipeline.AppliedPTransform) -> None:
        if fn := getattr(node.transform, "fn", None):
            self.found[f"{type(fn).__module__}.{type(fn).__qualname__}"] = fn


def functions_of(name: str) -> dict[str, Any]:
    graph = beam_runner_api_pb2.Pipeline.FromString(gzip.decompress((GRAPHS / f"{name}.pipeline.pb.gz").read_bytes()))
    functions = _Functions()
    beam.Pipeline.from_runner_api(graph, None, PipelineOptions([])).visit(functions)
    return functions.found


def test_the_graph_of_a_job_of_the_version_before_is_unpickled() -> None:
    assert {
        "transforms.read.kafka._ReadFn",
        "transforms.decode.decode._DecodeFn",
        "transforms.converge.transform._FoldFn",
        "transforms.converge.transform._CommitFn",
        "transforms.account._AppendFn",
        "transforms.immediate._PublishFn",
    } <= functions_of("ingest").keys()


def test_the_decoder_of_a_job_of_the_version_before_goes_on() -> None:
    decode = functions_of("ingest")["transforms.decode.decode._DecodeFn"]
    decode.setup()
    decode.start_bundle()
    values = [b'{"messageId":"m","type":"page","anonymousId":"a","originalTimestamp":"2026-11-02T10:00:00Z"}', b"{}"]
    batch = MessageBatch(["kafka:web:AAAA:0"] * 2, *(np.arange(2) for _ in range(3)), values)
    assert len([*decode.process(batch, MIN_TIMESTAMP), *decode.finish_bundle()]) == 3  # a row, the same in order, a dead letter


@pytest.mark.parametrize(("graph", "function"), [("ingest", "read.kafka._ReadFn"), ("deliver", "deliver.deliver._DeliverFn")])
def test_readers_of_a_job_of_the_version_before_go_on_from_their_restriction(graph: str, function: str) -> None:
    fn = functions_of(graph)[f"transforms.{function}"]
    restriction = fn.initial_restriction(reader_name(0, 1, 0))
    assert restriction == ReaderProgress((PartitionProgress("web", "AAAA", 0, next=0),))
    assert fn.restriction_coder().decode(fn.restriction_coder().encode(restriction)) == restriction
    assert fn.create_tracker(restriction).try_claim(restriction)


@pytest.mark.parametrize("old", sorted({*MOVED, *MOVED_PACKAGES}))
def test_an_old_name_imports_and_gives_the_module_of_the_new_name(old: str) -> None:
    new = importlib.import_module(new_name(old) or "")
    if any(name.startswith(f"{old}.") for name in MOVED.values()):  # a package stands there now
        assert importlib.import_module(old).__path__
    else:
        assert importlib.import_module(old) is new
        assert new.__spec__ is not None and new.__spec__.name == new.__name__


def test_no_module_of_today_has_an_old_name_that_gives_another() -> None:
    roots = {name.partition(".")[0] for name in MOVED}
    files = [path.relative_to(ROOT) for root in roots for path in (ROOT / root).rglob("*.py") if path.name != "__init__.py"]
    taken = [name for name in (".".join(file.with_suffix("").parts) for file in files) if new_name(name)]
    assert not taken


def test_a_name_that_never_was_does_not_import() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("transforms.lake.nothing")
