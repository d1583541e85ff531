"""Where a lake lies and how its catalog is opened."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pyiceberg.catalog.sql import SqlCatalog
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from contracts.errors import ComponentDownError, ConfigurationError

NAMESPACES = ("validated", "late", "ops")
CATALOG_FILE = "catalog.db"
_SQLITE_BUSY_S = 120
logging.getLogger("pyiceberg").setLevel(logging.ERROR)  # it warns of every delete that finds nothing, which is normal here


def local_path(location: str, what: str) -> str:
    """The path behind a path or ``file://`` URI.

    Raises:
        ConfigurationError: it is empty, or another kind of URI.
    """
    if location.startswith("file://"):
        return unquote(urlsplit(location).path)
    if "://" in location:
        raise ConfigurationError(f"{what} {location}: only local paths and file:// are supported so far")
    if not location:
        raise ConfigurationError(f"{what}: an empty path; is a shell variable not set?")
    return location


def data_path(uri: str) -> str:
    """The path behind the URI of a file that Iceberg's metadata names."""
    return local_path(uri, "data file")


@dataclass(frozen=True)
class Lake:
    """A lake. Small and picklable; opens what it needs where it is needed.

    root: absolute folder. catalog_url: SQLAlchemy URL of the Iceberg catalog; SQLite inside the lake by default.
    """

    root: str
    catalog_url: str

    @classmethod
    def at(cls, location: str, catalog_url: str | None = None) -> Lake:
        """The lake at a path or ``file://`` URI.

        Raises:
            ConfigurationError: another kind of URI.
        """
        root = Path(local_path(location, "lake")).expanduser().absolute()
        if bad := {"?", "#", "%"}.intersection(str(root)):
            raise ConfigurationError(
                f"lake {root}: a path with {' '.join(sorted(bad))} cannot be part of the URLs in Iceberg's metadata"
            )
        return cls(str(root), catalog_url or f"sqlite:///{root / CATALOG_FILE}?timeout={_SQLITE_BUSY_S}")

    @property
    def path(self) -> Path:
        """The root as a path."""
        return Path(self.root)

    @property
    def raw(self) -> Path:
        """Raw files: ``raw/source=S/dt=…/hour=…``."""
        return self.path / "raw"

    @property
    def runs(self) -> Path:
        """Manifests: ``_runs/<run_id>/manifest.json``."""
        return self.path / "_runs"

    @property
    def temporary(self) -> Path:
        """Files that are not complete yet, on the same file system; ``lake clean`` sweeps it."""
        return self.path / "_tmp"

    def exists(self) -> bool:
        """Whether a job ever made a lake here."""
        return self.runs.is_dir()

    def create(self) -> None:
        """Make the folders and the catalog; does nothing where they are.

        Raises:
            ConfigurationError: the place cannot be written.
            ComponentDownError: the catalog does not answer.
        """
        try:
            for folder in (self.path, self.raw, self.runs, self.temporary):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"lake {self.root}: cannot be written: {error.strerror}") from None
        catalog = self.catalog()
        for namespace in NAMESPACES:
            with contextlib.suppress(IntegrityError):  # another process made it between look and leap
                catalog.create_namespace_if_not_exists(namespace)

    def catalog(self) -> SqlCatalog:
        """The Iceberg catalog.

        Raises:
            ComponentDownError: it does not answer.
        """
        options = {"uri": self.catalog_url, "warehouse": f"file://{self.root}/warehouse"}
        for attempt in range(3):  # two processes that create the same SQLite tables at once: one is told so, and tries again
            try:
                return SqlCatalog("headrace", **options)
            except (OperationalError, SQLAlchemyError) as error:
                failure = error
                if attempt < 2 and "already exists" in str(error):
                    continue
                break
        shown = urlsplit(self.catalog_url)
        where = f"{shown.scheme}://{shown.hostname or ''}{shown.path}"  # never user or password
        raise ComponentDownError(f"catalog {where}: no answer ({type(failure).__name__}); is it running, and the URL right?")
