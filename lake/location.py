"""Where a lake lies and how its catalog is opened."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from contracts.errors import ConfigurationError
from lake.catalogs import make_namespace, open_catalog
from lake.storage import Storage, is_object, local_path, location_of, make_root, storage_of

NAMESPACES = ("validated", "late", "ops")
CATALOG_FILE = "catalog.db"
AUDIT = "audit"  # the branch of a gated dataset's table that jobs commit to; main is what passed its gate, see tables/audit.py
_MADE = "_runs/lake"  # in a bucket, where there are no folders: says that there is a lake
_FILE_IO = "lake.storage.file_io.ObjectFileIO"
_SQLITE_BUSY_S = 120
logging.getLogger("pyiceberg").setLevel(logging.ERROR)  # it warns of every delete that finds nothing, which is normal here


def data_path(uri: str) -> str:
    """The location behind the URI of a file that Iceberg's metadata names."""
    return location_of(uri, "data file")


@dataclass(frozen=True)
class Lake:
    """A lake. Small and picklable; opens what it needs where it is needed.

    root: absolute folder, or ``gs://bucket/prefix``, ``s3://bucket/prefix``. catalog_url: of the Iceberg catalog (catalogs.py), by
    default SQLite in the lake. branch: the Iceberg branch that tables are read from and committed to; None for main, which is
    what everybody reads. audited: tables of which that branch is AUDIT, where ``branch`` names no other.
    """

    root: str
    catalog_url: str = field(repr=False)
    branch: str | None = None
    audited: frozenset[str] = frozenset()

    @classmethod
    def at(cls, location: str, catalog_url: str | None = None) -> Lake:
        """The lake at a path, a ``file://``, ``gs://`` or ``s3://`` URI.

        Raises:
            ConfigurationError: another kind of URI; or one in a bucket without a catalog.
        """
        if is_object(location):
            return cls._in_bucket(location_of(location, "lake").rstrip("/"), catalog_url)
        root = Path(local_path(location, "lake")).expanduser().absolute()
        if bad := {"?", "#", "%"}.intersection(str(root)):
            raise ConfigurationError(
                f"lake {root}: a path with {' '.join(sorted(bad))} cannot be part of the URLs in Iceberg's metadata"
            )
        return cls(str(root), catalog_url or f"sqlite:///{root / CATALOG_FILE}?timeout={_SQLITE_BUSY_S}")

    @classmethod
    def _in_bucket(cls, root: str, catalog_url: str | None) -> Lake:
        if bad := {"?", "#", "%", "*", "["}.intersection(root):
            raise ConfigurationError(
                f"lake {root}: a name with {' '.join(sorted(bad))} cannot be part of the URLs in Iceberg's metadata"
            )
        if catalog_url is None:
            raise ConfigurationError(
                f"lake {root}: a lake in a bucket needs a catalog elsewhere; name it in headrace.yaml, such as "
                "catalog: postgresql+psycopg://HOST/DATABASE (or sqlite:///FILE for one machine)"
            )
        return cls(root, catalog_url)

    @property
    def storage(self) -> Storage:
        """What reads and writes its files."""
        return storage_of(self.root, None if is_object(self.root) else self.temporary)

    def at_key(self, key: str) -> str:
        """The location of a file or folder in the lake, such as ``raw/source=web``."""
        return f"{self.root}/{key}"

    @property
    def path(self) -> Path:
        """The root as a path.

        Raises:
            ConfigurationError: the lake is in a bucket.
        """
        if is_object(self.root):
            raise ConfigurationError(f"lake {self.root}: is in a bucket; this needs a local lake")
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
        if not is_object(self.root):
            return self.runs.is_dir()
        try:
            self.storage.stat(self.at_key(_MADE))
        except FileNotFoundError:
            return False
        return True

    def create(self) -> None:
        """Make the folders and the catalog; does nothing where they are.

        Raises:
            ConfigurationError: the place cannot be written.
            ComponentDownError: the catalog, or the store of a bucket, does not answer.
        """
        self._make_place()
        catalog = self.catalog()
        for namespace in NAMESPACES:
            make_namespace(catalog, namespace)

    def _make_place(self) -> None:
        if is_object(self.root):
            try:
                self.storage.put_if_absent(self.at_key(_MADE), b"")
                self.storage.check_conditions(self.at_key(_MADE))
            except FileNotFoundError:
                raise ConfigurationError(f"lake {self.root}: there is no such bucket; make it, or name another") from None
            return
        try:
            make_root(self.path)
            for folder in (self.raw, self.runs, self.temporary):
                folder.mkdir(exist_ok=True)
            if self.catalog_url.startswith(f"sqlite:///{self.path / CATALOG_FILE}"):
                (self.path / CATALOG_FILE).touch()  # SQLite's own would not be writable for a group
        except OSError as error:
            raise ConfigurationError(f"lake {self.root}: cannot be written: {error.strerror}") from None

    def branch_of(self, table: str) -> str | None:
        """The branch that a table is read from and committed to; None for main."""
        return self.branch or (AUDIT if table in self.audited else None)

    def auditing(self, tables: Iterable[str]) -> Lake:
        """The same lake as the jobs of gated datasets see it: these tables as their audit branch has them."""
        return replace(self, audited=frozenset(tables))

    @property
    def public(self) -> Lake:
        """The same lake as its readers see it: every table as its main branch has it, or the branch of the lake."""
        return replace(self, audited=frozenset()) if self.audited else self

    def load(self, name: str) -> Table:
        """A table as this lake's branch has it: its current snapshot is the branch's, none where there is no such branch.

        Raises:
            NoSuchTableError: there is none.
        """
        table = self.catalog().load_table(name)
        branch = self.branch_of(name)
        if branch is not None:
            head = table.metadata.snapshot_by_name(branch)
            table.metadata = table.metadata.model_copy(update={"current_snapshot_id": head.snapshot_id if head else None})
        return table

    def table_folder(self, name: str) -> Path | None:
        """Where a table lies on this machine; None in a bucket."""
        return None if is_object(self.root) else Path(self.root, "warehouse", *name.split("."))

    @property
    def warehouse(self) -> str:
        """URI of the folder that its tables lie in."""
        return f"{self.root}/warehouse" if is_object(self.root) else f"file://{self.root}/warehouse"

    def catalog(self) -> Catalog:
        """The Iceberg catalog.

        Raises:
            ConfigurationError: its URL is none, or its driver is not installed.
            ComponentDownError: it does not answer.
        """
        properties = {"warehouse": self.warehouse, **({"py-io-impl": _FILE_IO} if is_object(self.root) else {})}
        return open_catalog(self.catalog_url, **properties)
