"""How each piece is fetched: one function per piece, which fills an empty folder with the help of pip, Maven or Go."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from contracts.errors import ComponentDownError
from devstack import poms, tools, versions
from devstack.manifest import sha256
from devstack.toolbox import Toolbox
from runners import binaries

GCS_BINARY = "fake-gcs-server"
# Of Flink's distribution only what a session cluster for Beam needs: runtime, logging, the tool for memory sizes, the reporter.
_KEPT_OF_FLINK = {"lib": ("flink-dist-", "log4j-"), "bin": ("bash-java-utils",), "plugins": ("metrics-prometheus/",)}
_COPY_BYTES = 1 << 20
# Every module is checked against the public checksum database, and no flag of the user's changes what is built.
GO = {"GOSUMDB": "sum.golang.org", "GONOSUMDB": "none", "GOPRIVATE": "none", "GOINSECURE": "none", "GOFLAGS": "-buildvcs=false"}
_JAVA = Path(__file__).with_name("java")  # sources of what is made here
# What keeps each of them on loopback: a metrics reporter of ours, a class of ours, one changed line. docs/guides/network.md.
METRICS_REPORTER = "org.apache.flink.metrics.prometheus.LoopbackPrometheusReporterFactory"
_METRICS_JAR = "headrace-metrics-loopback.jar"
_BEAM_SERVERS = ("org/apache/beam/sdk/fn/server", "ServerFactory.java")
_PRISM_MODULE = "github.com/apache/beam/sdks/v2"
_PRISM_COMMAND, _PRISM_SOURCES = "go/cmd/prism", ("go/cmd/prism", "go/pkg/beam/runners/prism")
_PRISM_LISTENS_IN = "go/pkg/beam/runners/prism/internal/jobservices/server.go"
_ON_ALL, _ON_LOOPBACK = 'net.Listen("tcp", fmt.Sprintf(":%d", port))', 'net.Listen("tcp", fmt.Sprintf("localhost:%d", port))'
_LISTENS = re.compile(r"\bListen(?:TCP|Packet|AndServe|AndServeTLS|Config)?\b\s*[({]")
_PRISM_LISTENS = 2  # the job service, for workers too; and the web page, on localhost, which Beam switches off


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
    _metrics_reporter(folder, work, toolbox)
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


def _metrics_reporter(flink: Path, work: Path, toolbox: Toolbox) -> None:
    """A jar beside Flink's Prometheus reporter, with one that listens on loopback."""
    plugin, classes = flink / "plugins" / "metrics-prometheus", work / "classes"
    jars = [*plugin.glob("*.jar"), *(flink / "lib").glob("flink-dist-*.jar")]
    source = _JAVA / f"{METRICS_REPORTER.rpartition('.')[2]}.java"
    command = [tools.javac(), "--release", "11", "-d", str(classes), "-cp", ":".join(map(str, jars)), str(source)]
    toolbox.run(command, log=work / "javac.log", what="metrics reporter")
    with zipfile.ZipFile(plugin / _METRICS_JAR, "w", zipfile.ZIP_DEFLATED) as jar:
        for path in sorted(classes.rglob("*.class")):
            jar.write(path, path.relative_to(classes))
        jar.writestr("META-INF/services/org.apache.flink.metrics.reporter.MetricReporterFactory", METRICS_REPORTER + "\n")


def kafka(folder: Path, toolbox: Toolbox) -> None:
    """The broker's jars and a logger."""
    pom, libs = folder / "pom.xml", folder / "libs"
    pom.write_text(poms.KAFKA, "utf-8")
    gather_jars(pom, libs, versions.KAFKA_JARS_SHA256, f"kafka {versions.KAFKA}", toolbox)


def job_server(folder: Path, toolbox: Toolbox) -> None:
    """Beam's runner for Flink with all its dependencies in one jar, whose servers listen on loopback.

    Jobs bring this jar to the TaskManagers, so that those of workers do too.
    """
    work = folder / ".work"
    package, name = _BEAM_SERVERS
    ours = work / "src" / "main" / "java" / package
    ours.mkdir(parents=True)
    shutil.copy(_JAVA / name, ours)
    pom = work / "pom.xml"
    pom.write_text(poms.JOB_SERVER, "utf-8")
    what = f"job server {versions.BEAM_FLINK_RUNNER} for Flink {versions.FLINK_MINOR}"
    gather_jars(pom, work / "libs", versions.JOB_SERVER_JARS_SHA256, what, toolbox)  # the same that it is packaged of then
    toolbox.run([*_maven(pom), "package"], log=work / "maven.log", what=what)
    (work / "target" / "job-server-1.jar").replace(folder / binaries.JOB_SERVER_JAR)
    shutil.rmtree(work)


def gather_jars(pom: Path, libs: Path, digest: str, what: str, toolbox: Toolbox) -> None:
    """Put what a project needs into a folder.

    Raises:
        ComponentDownError: Maven failed, or gave others than the pinned ones.
    """
    goal = f"org.apache.maven.plugins:maven-dependency-plugin:{versions.MAVEN_DEPENDENCY_PLUGIN}:copy-dependencies"
    command = [*_maven(pom), goal, "-DincludeScope=runtime", f"-DoutputDirectory={libs}"]
    toolbox.run(command, log=pom.with_name("maven.log"), what=what)
    found = jars_digest(libs)
    if found != digest:
        raise ComponentDownError(
            f"{what}: Maven gave other jars than the pinned ones (digest {found}, not {digest}); "
            "look at the mirrors in ~/.m2/settings.xml, and run it again"
        )


def prism(folder: Path, toolbox: Toolbox) -> None:
    """Compiled from its Go module, with the one place changed where it listens on all interfaces.

    Raises:
        ComponentDownError: Go failed, or Prism listens elsewhere than in the version that this was written for.
    """
    what, work = f"prism {versions.PRISM}", folder / ".work"
    module = f"{_PRISM_MODULE}@v{versions.PRISM}"
    work.mkdir()
    toolbox.run(["go", "mod", "download", module], log=folder / "go.log", what=what, env=GO)
    cache = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True, check=True).stdout.strip()
    source = Path(cache) / module
    for part in ("go.mod", "go.sum"):
        shutil.copyfile(source / part, work / part)
    shutil.copytree(source / "go", work / "go", copy_function=shutil.copyfile, ignore=shutil.ignore_patterns("*_test.go"))
    for path in (work, *work.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # Go's cache is read-only
    _keep_prism_on_loopback(work, what)
    command = ["go", "build", "-trimpath", "-o", str(folder / binaries.PRISM_BINARY), f"./{_PRISM_COMMAND}"]
    toolbox.run(command, log=work / "go.log", what=what, env=GO)
    shutil.rmtree(work)


def _keep_prism_on_loopback(module: Path, what: str) -> None:
    listening = module / _PRISM_LISTENS_IN
    sources = [path for part in _PRISM_SOURCES for path in (module / part).rglob("*.go")]
    found = sum(len(_LISTENS.findall(path.read_text("utf-8"))) for path in sources)
    text = listening.read_text("utf-8") if listening.is_file() else ""
    known = text.count(_ON_ALL)
    if (found, known) != (_PRISM_LISTENS, 1):
        raise ComponentDownError(
            f"{what}: not built, since it might listen on all interfaces: its sources open ports in {found} places, "
            f"{known} of them the known one; expected are {_PRISM_LISTENS} and 1"
        )
    listening.write_text(text.replace(_ON_ALL, _ON_LOOPBACK), "utf-8")


def gcs(folder: Path, toolbox: Toolbox) -> None:
    """Compiled from its Go module."""
    module, what = f"github.com/fsouza/fake-gcs-server@v{versions.FAKE_GCS_SERVER}", f"fake-gcs-server {versions.FAKE_GCS_SERVER}"
    toolbox.run(["go", "install", module], log=folder / "go.log", what=what, env={**GO, "GOBIN": str(folder)})


def registry(folder: Path, toolbox: Toolbox) -> None:
    """Apicurio's archive, unpacked.

    Raises:
        ComponentDownError: Maven failed, or gave another archive than the pinned one.
    """
    work, what = folder / ".work", f"apicurio registry {versions.APICURIO}"
    work.mkdir()
    goal = f"org.apache.maven.plugins:maven-dependency-plugin:{versions.MAVEN_COPY_PLUGIN}:copy"
    artifact = f"io.apicurio:apicurio-registry-app:{versions.APICURIO}:tar.gz:all"
    command = ["mvn", "--batch-mode", "--quiet", "--strict-checksums", goal, f"-Dartifact={artifact}", f"-DoutputDirectory={work}"]
    toolbox.run(command, log=work / "maven.log", what=what)
    (archive,) = work.glob("*.tar.gz")
    if (found := sha256(archive)) != versions.APICURIO_SHA256:
        raise ComponentDownError(
            f"{what}: Maven gave another archive than the pinned one (SHA-256 {found}, not {versions.APICURIO_SHA256}); "
            "look at the mirrors in ~/.m2/settings.xml, and run it again"
        )
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    shutil.rmtree(work)


def jars_digest(folder: Path) -> str:
    """One SHA-256 over names and contents of a folder's jars."""
    total = hashlib.sha256()
    for jar in sorted(folder.glob("*.jar")):
        total.update(f"{jar.name} {sha256(jar)}\n".encode())
    return total.hexdigest()


def _maven(pom: Path) -> list[str]:
    return ["mvn", "--batch-mode", "--quiet", "--strict-checksums", "-f", str(pom)]
