"""What ``headrace quality run`` came to, kept in the lake: ``_quality/<id>/``. Never values of rows; private, as all files are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from contracts.errors import ConfigurationError
from contracts.spec.quality import Severity
from lake.location import Lake
from lake.runs.manifest import encoded
from quality.verdicts import Partition, RuleVerdict, Verdict

HEADRACE, EXPECTATIONS = "headrace", "great-expectations"  # who gives verdicts
FOLDER = "_quality"
_RESULTS = "results.json"


@dataclass(frozen=True)
class EngineVerdict:
    """A verdict, and who gave it."""

    engine: str
    verdict: RuleVerdict


@dataclass(frozen=True, kw_only=True)
class QualityResults:
    """What a run of rules came to.

    id: ``<time>-<dataset>-<random>``. of_run: the run whose partitions they are, if any. branch: that was judged, None for main.
    snapshot_id: its state. unmapped: rules without an expectation, with the reason; empty where Great Expectations did not run.
    documents: of Great Expectations, relative to the lake.
    """

    id: str
    dataset: str
    contract_version: str
    judged_at: str
    of_run: str | None
    branch: str | None
    snapshot_id: int | None
    partitions: int
    verdicts: tuple[EngineVerdict, ...]
    unmapped: tuple[tuple[str, str], ...] = ()
    documents: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether a rule that holds a partition, or ends a run, did not pass."""
        return any(is_bad(each.verdict) and each.verdict.severity is not Severity.WARN for each in self.verdicts)

    def document(self) -> dict[str, Any]:
        """As it is written and printed."""
        told = {key: value for key, value in asdict(self).items() if key != "verdicts"}
        return told | {"verdicts": [{"engine": each.engine, **asdict(each.verdict)} for each in self.verdicts]}


def is_bad(verdict: RuleVerdict) -> bool:
    """Whether a rule was broken, or gave no answer."""
    return verdict.verdict in (Verdict.FAILED, Verdict.ERROR)


def keep(lake: Lake, results: QualityResults, files: Mapping[str, bytes]) -> None:
    """Write results, and what goes with them, by name within their folder."""
    for name, content in files.items():
        lake.storage.write(_place(lake, results.id, name), content)
    lake.storage.write(_place(lake, results.id, _RESULTS), encoded(results.document()))


def kept(lake: Lake, name: str) -> QualityResults | None:
    """Results that were kept; None where there are none of this name."""
    try:
        return _read(json.loads(lake.storage.read(_place(lake, name, _RESULTS))))
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError):
        raise ConfigurationError(f"{_place(lake, name, _RESULTS)}: is damaged; headrace quality run makes others") from None


def newest_of(lake: Lake, dataset: str) -> QualityResults | None:
    """The newest results of a dataset."""
    names: Sequence[str] = lake.storage.folders(lake.at_key(FOLDER))
    mine = (name for name in reversed(names) if name.partition("-")[2].rpartition("-")[0] == dataset)
    return next((found for found in (kept(lake, name) for name in mine) if found), None)


def _place(lake: Lake, name: str, file: str) -> str:
    return lake.at_key(f"{FOLDER}/{name}/{file}")


def _read(document: Mapping[str, Any]) -> QualityResults:
    return QualityResults(
        **{key: document[key] for key in ("id", "dataset", "contract_version", "judged_at", "of_run", "branch", "snapshot_id")},
        partitions=document["partitions"],
        verdicts=tuple(_verdict(each) for each in document["verdicts"]),
        unmapped=tuple((rule, why) for rule, why in document["unmapped"]),
        documents=tuple(document["documents"]),
    )


def _verdict(document: Mapping[str, Any]) -> EngineVerdict:
    told = {key: value for key, value in document.items() if key != "engine"}
    told |= {
        "partition": Partition(**told["partition"]),
        "severity": Severity(told["severity"]),
        "verdict": Verdict(told["verdict"]),
    }
    told |= {"samples": tuple(map(tuple, told["samples"])), "baseline": tuple(told["baseline"])}
    return EngineVerdict(document["engine"], RuleVerdict(**told))
