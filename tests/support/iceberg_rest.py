"""An Iceberg REST catalog of a test's own: Iceberg's reference server, over its JDBC catalog in PostgreSQL, on a free port.

The server listens on all interfaces and asks for no login, so it is for tests only. Its jars come by Maven, once, into the folder
of the local stack's downloads.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

from devstack.manifest import damage, write_manifest
from devstack.recipes import gather_jars
from devstack.toolbox import Toolbox
from runners.binaries import downloads_folder
from tests.support.postgres import Postgres

VERSION = "1.10.0"
_DIGEST = "eed1a5a7534be8be0925ade7008898a62b6dc2bdef49672745e680fa366125c6"  # devstack.recipes.jars_digest
_START_S = 60.0


def _dependency(group: str, name: str, version: str, classifier: str = "", alone: bool = False) -> str:
    more = f"<classifier>{classifier}</classifier>" if classifier else ""
    if alone:
        more += "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
    return f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version>{more}</dependency>"


_DEPENDENCIES = (
    ("org.apache.iceberg", "iceberg-open-api", VERSION, "test-fixtures", True),
    ("org.apache.iceberg", "iceberg-core", VERSION),
    ("org.apache.iceberg", "iceberg-core", VERSION, "tests", True),
    ("org.apache.hadoop", "hadoop-client-api", "3.4.1"),
    ("org.apache.hadoop", "hadoop-client-runtime", "3.4.1"),
    ("org.eclipse.jetty", "jetty-server", "11.0.26"),
    ("org.eclipse.jetty", "jetty-servlet", "11.0.26"),
    ("org.postgresql", "postgresql", "42.7.11"),
    ("org.slf4j", "slf4j-simple", "2.0.17"),
)
_POM = (
    '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>org.headrace.tests</groupId>'
    "<artifactId>iceberg-rest</artifactId><version>1</version><packaging>pom</packaging>"
    f"<dependencies>{''.join(_dependency(*each) for each in _DEPENDENCIES)}</dependencies></project>\n"  # type: ignore[arg-type]
)


def jars() -> Path:
    """The folder of its jars; fetched where it is not there."""
    folder = downloads_folder() / f"iceberg-rest-{VERSION}"
    if damage(folder) is not None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "pom.xml").write_text(_POM, "utf-8")
        gather_jars(folder / "pom.xml", folder / "libs", _DIGEST, f"iceberg-rest {VERSION}", Toolbox())
        write_manifest(folder)
    return folder / "libs"


@contextmanager
def rest_catalog(database: Postgres, warehouse: Path) -> Iterator[str]:
    """The URL of a server that runs, as ``catalog:`` says it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "CATALOG_REST_PORT": str(port),
        "CATALOG_CATALOG__IMPL": "org.apache.iceberg.jdbc.JdbcCatalog",
        "CATALOG_URI": f"jdbc:postgresql://127.0.0.1:{database.port}/postgres",
        "CATALOG_JDBC_USER": "headrace",
        "CATALOG_JDBC_PASSWORD": "none",
        "CATALOG_JDBC_SCHEMA__VERSION": "V1",
        "CATALOG_WAREHOUSE": warehouse.as_uri(),
        "CATALOG_IO__IMPL": "org.apache.iceberg.hadoop.HadoopFileIO",
    }
    command = ["java", "-Xmx256m", "-cp", f"{jars()}/*", f"-Drest.port={port}", "org.apache.iceberg.rest.RESTCatalogServer"]
    log = warehouse / "rest-catalog.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, env={**os.environ, **settings}, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        until = time.monotonic() + _START_S
        while not _answers(port):
            assert server.poll() is None and time.monotonic() < until, log.read_text()[-3000:]
            time.sleep(0.1)
        yield f"rest+http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(_START_S)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/config", timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
