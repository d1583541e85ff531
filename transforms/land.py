"""Landing as a PTransform: input files in, landed raw files out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam import coders

from contracts.source import SourceSpec
from transforms.lake.location import Lake
from transforms.lake.raw import CHUNK_BYTES, InputFile, Landing, land_file

coders.registry.register_coder(InputFile, coders.FastPrimitivesCoder)
coders.registry.register_coder(Landing, coders.FastPrimitivesCoder)


@dataclass
class LandFiles(beam.PTransform):  # type: ignore[misc]
    """Copy files into ``raw/``, once per source and content, before anything can fail on what is in them.

    Input: InputFile. Output: Landing, one each, whatever became of it.
    Guarantees: idempotent; a landed file is complete, verbatim, and indexed.
    """

    lake: Lake
    spec: SourceSpec
    chunk_bytes: int = CHUNK_BYTES

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, files: beam.PCollection[InputFile]) -> beam.PCollection[Landing]:
        """See the class."""
        return files | "Land" >> beam.ParDo(_LandFn(self.lake, self.spec, self.chunk_bytes))


@beam.typehints.with_output_types(Landing)
class _LandFn(beam.DoFn):
    def __init__(self, lake: Lake, spec: SourceSpec, chunk_bytes: int) -> None:
        self._lake, self._spec, self._chunk_bytes = lake, spec, chunk_bytes

    def process(self, file: InputFile) -> Iterator[Landing]:
        yield land_file(self._lake, self._spec, file, self._chunk_bytes)
