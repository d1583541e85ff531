"""Where the ingest graph begins: files, topics, and what was landed before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import apache_beam as beam

from contracts.spec.registry import Registry
from contracts.spec.source import SourceSpec
from lake.location import Lake
from lake.raw.batch import RawBatch
from lake.raw.files import RawChunk
from transforms.read.kafka import ReadKafka
from transforms.read.raw import ChosenPiece, RawPiece, ReadRaw
from transforms.read.topics import KafkaSource


class RawSource(Protocol):
    """What gives raw records."""

    def read(self, pipeline: beam.Pipeline) -> beam.PCollection[RawBatch]:
        """The first steps of the graph."""
        ...


@dataclass(frozen=True)
class Files:
    """Chunks of raw files. is_local: one process reads all of them; else they are shared out to workers."""

    chunks: Sequence[RawChunk]
    is_local: bool = False

    def read(self, pipeline: beam.Pipeline) -> beam.PCollection[RawBatch]:
        """See RawSource."""
        return pipeline | "Chunks" >> beam.Create(self.chunks, reshuffle=not self.is_local)


@dataclass(frozen=True)
class Topics:
    """Partitions of Kafka topics, which are landed as they are read."""

    kafka: KafkaSource
    spec: SourceSpec
    lake: Lake
    registry: Registry | None = None

    def read(self, pipeline: beam.Pipeline) -> beam.PCollection[RawBatch]:
        """See RawSource."""
        return pipeline | "ReadKafka" >> ReadKafka(self.kafka, self.spec, self.lake, self.registry)


@dataclass(frozen=True)
class LandedRaw:
    """What was landed before, be it of files or of topics. is_local: as of ``Files``."""

    pieces: Sequence[RawPiece | ChosenPiece]
    lake: Lake
    spec: SourceSpec
    registry: Registry | None = None
    is_local: bool = False

    def read(self, pipeline: beam.Pipeline) -> beam.PCollection[RawBatch]:
        """See RawSource."""
        return (
            pipeline
            | "Pieces" >> beam.Create(self.pieces, reshuffle=not self.is_local)
            | "ReadRaw" >> ReadRaw(self.lake, self.spec, self.registry)
        )
