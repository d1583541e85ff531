"""Spark's connector for Kafka, from Maven Central: fetched by ``make peers`` with ``python -m benchmarks.stream.connector``.

PySpark brings all but these four jars. They are held to the digest below, like the pieces of the local stack, and lie beside them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from contracts.errors import HeadraceError
from devstack.layout import Layout
from devstack.pieces import Piece, fetch_pieces
from devstack.recipes import gather_jars
from devstack.toolbox import Toolbox

SPARK, SCALA = "4.2.0", "2.13"  # PySpark's, in requirements/stream-peers.in
JARS_SHA256 = "7b7de060218c022d2259537ec0883798284ed9a56677da3b7dc7c6f7405f8a6c"  # devstack.recipes.jars_digest
_IN_PYSPARK = (
    "org.apache.hadoop:hadoop-client-api", "org.apache.hadoop:hadoop-client-runtime", "org.scala-lang:scala-library",
    "org.scala-lang.modules:scala-parallel-collections_2.13", f"org.apache.spark:spark-tags_{SCALA}", "org.slf4j:slf4j-api",
    "org.xerial.snappy:snappy-java", "at.yawk.lz4:lz4-java", "org.lz4:lz4-java", "com.google.code.findbugs:jsr305",
)  # fmt: skip
_EXCLUSION = "<exclusion><groupId>{}</groupId><artifactId>{}</artifactId></exclusion>"
_POM = f"""\
<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>org.headrace.bench</groupId>
  <artifactId>spark-kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.spark</groupId><artifactId>spark-sql-kafka-0-10_{SCALA}</artifactId><version>{SPARK}</version>
      <exclusions>{"".join(_EXCLUSION.format(*name.split(":")) for name in _IN_PYSPARK)}</exclusions>
    </dependency>
  </dependencies>
</project>
"""


def _make(folder: Path, toolbox: Toolbox) -> None:
    pom = folder / "pom.xml"
    pom.write_text(_POM, "utf-8")
    gather_jars(pom, folder / "libs", JARS_SHA256, f"Spark's connector for Kafka {SPARK}", toolbox)


CONNECTOR = Piece(component="spark-kafka", folder=f"spark-kafka-{SPARK}", tool="mvn", disk_mb=100, make=_make)


def jars() -> Path:
    """The folder of its jars, fetched where they are not there yet.

    Raises:
        ComponentDownError: Maven failed, or gave others than the pinned ones.
    """
    downloads = Layout.default().downloads
    downloads.mkdir(parents=True, exist_ok=True)
    fetch_pieces([CONNECTOR], downloads, lambda text: print(text, file=sys.stderr, flush=True))
    return downloads / CONNECTOR.folder / "libs"


def main() -> int:
    """Fetch it."""
    try:
        jars()
    except HeadraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
