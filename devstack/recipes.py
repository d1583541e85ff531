"""How each piece is fetched: one function per piece, which fills an empty folder with the help of pip, Maven or Go."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tarfile
from pathlib import Path

from contracts.errors import ComponentDownError
from devstack import poms, versions
from devstack.manifest import sha256
from devstack.toolbox import Toolbox

JOB_SERVER_JAR = "flink-job-server.jar"
PRISM_BINARY = "prism"
GCS_BINARY = "fake-gcs-server"
# Of Flink's distribution only what a session cluster for Beam needs: runtime, logging, the tool for memory sizes, the reporter.
_KEPT_OF_FLINK = {"lib": ("flink-dist-", "log4j-"), "bin": ("bash-java-utils",), "plugins": ("metrics-prometheus/",)}
_COPY_BYTES = 1 << 20


def flink(folder: Path, toolbox: Toolbox) -> None:
    """Flink's jars, from the source distribution on PyPI that carries them."""
    work = folder / ".work"
    work.mkdir()
    requirement = work / "requirement.txt"
    requirement.write_text(f"apache-flink-libraries=={versions.FLINK} --hash=sha256:{versions.FLINK_SDIST_SHA256}\n", "utf-8")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir", "download", "--progress-bar=off"]
    options = [
        "--no-deps",
        "--no-binary=:all:",
        "--no-build-isolation",
        "--require-hashes",
        "-r",
        str(requirement),
        "-d",
        str(work),
    ]
    toolbox.run([*pip, *options], log=work / "pip.log", what=f"flink {versions.FLINK}", env={"TMPDIR": str(work)})
    (sdist,) = work.glob("*.tar.gz")
    _unpack(sdist, folder)
    shutil.rmtree(work)


def _unpack(sdist: Path, folder: Path) -> None:
    with tarfile.open(sdist) as archive:
        for member in archive:
            part, _, name = member.name.partition("/deps/")[2].partition("/")
            source = archive.extractfile(member) if name.startswith(_KEPT_OF_FLINK.get(part, ())) else None
            if source is None or ".." in Path(name).parts:
                continue
            target = folder / part / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, target.open("wb") as file:
                shutil.copyfileobj(source, file, _COPY_BYTES)


def kafka(folder: Path, toolbox: Toolbox) -> None:
    """The broker's jars and a logger."""
    pom, libs = folder / "pom.xml", folder / "libs"
    pom.write_text(poms.KAFKA, "utf-8")
    goal = f"org.apache.maven.plugins:maven-dependency-plugin:{versions.MAVEN_DEPENDENCY_PLUGIN}:copy-dependencies"
    what = f"kafka {versions.KAFKA}"
    toolbox.run([*_maven(pom), goal, f"-DoutputDirectory={libs}"], log=folder / "maven.log", what=what)
    found = jars_digest(libs)
    if found != versions.KAFKA_JARS_SHA256:
        raise ComponentDownError(
            f"{what}: Maven gave other jars than the pinned ones (digest {found}, not {versions.KAFKA_JARS_SHA256}); "
            "look at the mirrors in ~/.m2/settings.xml, and run it again"
        )


def job_server(folder: Path, toolbox: Toolbox) -> None:
    """Beam's runner for Flink with all its dependencies in one jar."""
    work = folder / ".work"
    work.mkdir()
    pom = work / "pom.xml"
    pom.write_text(poms.JOB_SERVER, "utf-8")
    what = f"job server {versions.BEAM_FLINK_RUNNER} for Flink {versions.FLINK_MINOR}"
    toolbox.run([*_maven(pom), "package"], log=work / "maven.log", what=what)
    (work / "target" / "job-server-1.jar").replace(folder / JOB_SERVER_JAR)
    shutil.rmtree(work)


def prism(folder: Path, toolbox: Toolbox) -> None:
    """Compiled from its Go module."""
    module = f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{versions.PRISM}"
    toolbox.run(["go", "install", module], log=folder / "go.log", what=f"prism {versions.PRISM}", env={"GOBIN": str(folder)})


def gcs(folder: Path, toolbox: Toolbox) -> None:
    """Compiled from its Go module."""
    module, what = f"github.com/fsouza/fake-gcs-server@v{versions.FAKE_GCS_SERVER}", f"fake-gcs-server {versions.FAKE_GCS_SERVER}"
    toolbox.run(["go", "install", module], log=folder / "go.log", what=what, env={"GOBIN": str(folder)})


def jars_digest(folder: Path) -> str:
    """One SHA-256 over names and contents of a folder's jars."""
    total = hashlib.sha256()
    for jar in sorted(folder.glob("*.jar")):
        total.update(f"{jar.name} {sha256(jar)}\n".encode())
    return total.hexdigest()


def _maven(pom: Path) -> list[str]:
    return ["mvn", "--batch-mode", "--quiet", "--strict-checksums", "-f", str(pom)]
