"""What a stack remembers between two commands: which process is which component, and the settings that all of them share."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contracts.errors import ComponentDownError
from devstack.layout import Settings
from lake.runs.process import ProcessIdentity

_SETTINGS = "settings"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One start of a component. start_id: by which the component tells it from other starts. started_at: RFC 3339, UTC."""

    identity: ProcessIdentity
    start_id: str
    started_at: str


class State:
    """The state folder: one small file per component, replaced whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def lock(self) -> Path:
        """Held by who starts or stops the stack."""
        return self.folder / "lock"

    def record(self, component: str) -> Record | None:
        """The last start of a component that was not stopped since, alive or not."""
        document = self._read(component)
        return document and Record(**{**document, "identity": ProcessIdentity(**document["identity"])})

    def running(self, component: str) -> ProcessIdentity | None:
        """Its process, if it runs."""
        record = self.record(component)
        return record.identity if record and record.identity.alive() else None

    def write(self, component: str, record: Record) -> None:
        """Remember a start."""
        self._write(component, asdict(record))

    def forget(self, component: str) -> None:
        """It was stopped."""
        self._path(component).unlink(missing_ok=True)

    def components(self) -> list[str]:
        """Those that have a record."""
        return [path.stem for path in self.folder.glob("*.json") if path.stem != _SETTINGS]

    def settings(self) -> Settings | None:
        """Of the last ``up`` without a ``down`` since."""
        document = self._read(_SETTINGS)
        return document and Settings.from_json(document)

    def write_settings(self, settings: Settings) -> None:
        """Remember the settings of what is started now."""
        self._write(_SETTINGS, settings.to_json())

    def forget_settings(self) -> None:
        """Everything was stopped."""
        self.forget(_SETTINGS)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _read(self, name: str) -> Any | None:
        path = self._path(name)
        try:
            return json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            raise ComponentDownError(f"{path} is damaged; delete it, then: headrace stack down") from None

    def _write(self, name: str, document: Any) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(name)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(document, indent=1), "utf-8")
        temporary.replace(path)

    def records(self, components: tuple[str, ...]) -> Iterator[tuple[str, Record]]:
        """The starts of these components."""
        return ((name, record) for name in components if (record := self.record(name)))
