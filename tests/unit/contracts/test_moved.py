"""Jobs of development versions go on: their graphs hold classes by the names that modules had then."""

from __future__ import annotations

import gzip
import importlib
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import PipelineVisitor
from apache_beam.portability.api import beam_runner_api_pb2

from contracts.moved import MOVED, MOVED_PACKAGES, new_name

# The graph of ``headrace ingest web --input kafka://…``, as version 0.1.0 of before the move gave it to a cluster.
GRAPH = Path(__file__).parents[2] / "fixtures" / "upgrade" / "ingest.pipeline.pb.gz"


class _Functions(PipelineVisitor):
    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_transform(self, node: beam.pipeline.AppliedPTransform) -> None:
        if fn := getattr(node.transform, "fn", None):
            self.found.add(f"{type(fn).__module__}.{type(fn).__qualname__}")


def test_the_graph_of_a_job_of_the_version_before_is_unpickled() -> None:
    graph = beam_runner_api_pb2.Pipeline.FromString(gzip.decompress(GRAPH.read_bytes()))
    functions = _Functions()
    beam.Pipeline.from_runner_api(graph, None, PipelineOptions([])).visit(functions)
    assert {
        "transforms.read.kafka._ReadFn",
        "transforms.decode.decode._DecodeFn",
        "transforms.converge.transform._FoldFn",
        "transforms.converge.transform._CommitFn",
        "transforms.account._AppendFn",
        "transforms.immediate._PublishFn",
    } <= functions.found


@pytest.mark.parametrize("old", sorted({*MOVED, *MOVED_PACKAGES}))
def test_an_old_name_imports_and_gives_the_module_of_the_new_name(old: str) -> None:
    new = importlib.import_module(new_name(old) or "")
    if any(name.startswith(f"{old}.") for name in MOVED.values()):  # a package stands there now
        assert importlib.import_module(old).__path__
    else:
        assert importlib.import_module(old) is new
        assert new.__spec__ is not None and new.__spec__.name == new.__name__


def test_a_name_that_never_was_does_not_import() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("transforms.lake.nothing")
