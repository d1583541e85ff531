"""The pieces that the stack is made of: fetched once, whole or not at all, and looked at before every use.

A piece is a folder of ``downloads``. It is made beside its place and renamed into it, with a manifest of its files; a folder
without manifest, or whose files are not those of the manifest, is fetched again.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import ConfigurationError
from devstack import recipes, tools, versions
from devstack.lock import held
from devstack.manifest import damage, write_manifest
from devstack.toolbox import Toolbox
from runners import binaries

Report = Callable[[str], None]

_TEMPORARY = ".fetching-"
_LOCK_WAIT_S = 1800.0
_SPEAK_EVERY_S = 5.0
_MB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Something to fetch.

    component: of ``--only``. folder: its name in downloads, with the version. tool: what fetches it. also: what else it takes.
    disk_mb: space that fetching takes, the tool's own caches included. make: puts the files into an empty folder.
    download_mb: what comes into that folder meanwhile, to tell how far it is; None where a tool's cache takes it.
    """

    component: str
    folder: str
    tool: str
    disk_mb: int
    make: Callable[[Path, Toolbox], None]
    download_mb: int | None = None
    also: tuple[str, ...] = ()


FLINK = Piece(
    component="flink",
    folder=f"flink-{versions.FLINK}-{versions.REVISION}",
    tool="pip",
    disk_mb=900,
    make=recipes.flink,
    download_mb=versions.FLINK_SDIST_BYTES // _MB,
    also=("javac",),
)
KAFKA = Piece(component="kafka", folder=f"kafka-{versions.KAFKA}", tool="mvn", disk_mb=200, make=recipes.kafka)
JOB_SERVER = Piece(
    component="job-server",
    folder=binaries.JOB_SERVER_FOLDER,
    tool="mvn",
    disk_mb=700,
    make=recipes.job_server,
    also=("javac",),
)
PRISM = Piece(
    component="prism",
    folder=binaries.PRISM_FOLDER,
    tool="go",
    disk_mb=1500,
    make=recipes.prism,
)
GCS = Piece(component="gcs", folder=f"fake-gcs-server-{versions.FAKE_GCS_SERVER}", tool="go", disk_mb=1200, make=recipes.gcs)

REGISTRY = Piece(component="registry", folder=f"apicurio-{versions.APICURIO}", tool="mvn", disk_mb=400, make=recipes.registry)


def flink(downloads: Path) -> Path:
    """Folder with Flink's lib, bin and plugins."""
    return downloads / FLINK.folder


def kafka_libs(downloads: Path) -> Path:
    """Folder with Kafka's jars."""
    return downloads / KAFKA.folder / "libs"


def gcs(downloads: Path) -> Path:
    """The emulator of Google Cloud Storage."""
    return downloads / GCS.folder / recipes.GCS_BINARY


def registry(downloads: Path) -> Path:
    """Folder with the registry's jars."""
    return downloads / REGISTRY.folder


def needed(components: Collection[str]) -> list[Piece]:
    """The pieces of these components.

    Raises:
        ConfigurationError: ``HEADRACE_JOB_SERVER_JAR`` or ``HEADRACE_PRISM`` names no file.
    """
    own = {
        variable: piece
        for variable, piece in ((binaries.JAR_VARIABLE, JOB_SERVER), (binaries.PRISM_VARIABLE, PRISM))
        if os.environ.get(variable)
    }
    for variable, piece in own.items():
        if piece.component in components and not Path(os.environ[variable]).is_file():
            raise ConfigurationError(f"{variable}={os.environ[variable]}: there is no such file; name one, or unset it")
    return [p for p in (FLINK, KAFKA, JOB_SERVER, PRISM, GCS, REGISTRY) if p.component in components and p not in own.values()]


def fetch(components: Collection[str], downloads: Path, report: Report) -> None:
    """Have the pieces of these components, after a look at the tools that the machine must have.

    Raises:
        ConfigurationError: a tool or disk space is missing; said before anything is fetched.
        ComponentDownError: as ``fetch_pieces``.
    """
    pieces = needed(components)
    missing = [piece for piece in pieces if damage(downloads / piece.folder)]
    wanted = {tool for piece in missing for tool in (piece.tool, *piece.also)} - {"pip"}
    tools.check(components, tools=wanted, downloads=downloads, need_bytes=sum(p.disk_mb for p in missing) * _MB)
    if missing:
        fetch_pieces(pieces, downloads, report)


def fetch_pieces(pieces: Sequence[Piece], downloads: Path, report: Report) -> None:
    """Fetch those that are not there or damaged, side by side.

    **Guarantees**: one process at a time, others wait; what is in place is whole; no tool goes on after an error or an interrupt.

    Args:
        pieces: to have.
        downloads: the folder of pieces.
        report: is told what is fetched and, every few seconds, how far it is.

    Raises:
        ComponentDownError: a registry does not answer, or gives something else than the pinned piece.
    """
    with held(downloads / ".lock", "download for a local stack", wait_s=_LOCK_WAIT_S, waiting=report):
        for rest in downloads.glob(f"{_TEMPORARY}*"):  # of a killed process
            shutil.rmtree(rest, ignore_errors=True)
        chains: dict[str, list[Piece]] = {}
        for piece in pieces:
            if problem := damage(downloads / piece.folder):
                report(f"{piece.folder}: {problem}, fetching it with {piece.tool}")
                chains.setdefault(piece.tool, []).append(piece)  # two Mavens must not share a local repository
        if chains:
            _fetch_chains(list(chains.values()), downloads, report)


def _fetch_chains(chains: Sequence[Sequence[Piece]], downloads: Path, report: Report) -> None:
    toolbox = Toolbox()

    def run(chain: Sequence[Piece]) -> None:
        for piece in chain:
            _fetch(piece, downloads, toolbox, report)

    with ThreadPoolExecutor(len(chains)) as pool:
        try:
            done, _ = wait([pool.submit(run, chain) for chain in chains], return_when=FIRST_EXCEPTION)
            for finished in done:
                finished.result()
        except BaseException:  # an interrupt too: the tools' processes would go on downloading
            toolbox.close()
            raise


def _fetch(piece: Piece, downloads: Path, toolbox: Toolbox, report: Report) -> None:
    temporary, place = downloads / f"{_TEMPORARY}{piece.folder}-{os.getpid()}", downloads / piece.folder
    temporary.mkdir()
    began = time.monotonic()
    try:
        with _speaking(piece, temporary, report):
            piece.make(temporary, toolbox)
        write_manifest(temporary)
        if place.exists():
            shutil.rmtree(place)
        temporary.replace(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    report(f"{piece.folder}: fetched in {time.monotonic() - began:.0f} s")


@contextmanager
def _speaking(piece: Piece, folder: Path, report: Report) -> Iterator[None]:
    """Say every few seconds how far a piece is."""
    stop, began = threading.Event(), time.monotonic()

    def speak() -> None:
        while not stop.wait(_SPEAK_EVERY_S):
            size = f", {min(_size(folder) // _MB, piece.download_mb)} of {piece.download_mb} MB" if piece.download_mb else ""
            report(f"{piece.folder}: {time.monotonic() - began:.0f} s{size}")

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    try:
        yield
    finally:
        stop.set()
        speaker.join()


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:  # renamed or deleted by the tool meanwhile
            continue
    return total
