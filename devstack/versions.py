"""What the local stack is made of: versions and checksums. Those of programs that runs need too are in ``runners.binaries``.

How each piece is held to these:

- Flink comes as PyPI's source distribution; pip refuses another SHA-256.
- Maven artifacts have exact versions and are checked against the repository's checksums (``mvn --strict-checksums``); Kafka's jars
  as a whole, and those that the job server is packaged of, also against the digests below. The job server jar's own bytes differ
  from build to build, since they hold the time of packaging.
- Apicurio comes as one archive, which has the digest below.
- Prism and fake-gcs-server are compiled here; Go checks their sources against the public checksum database, whatever its
  environment says (``recipes.GO``).

The job server is put together of what mirrors of Maven Central commonly carry: Beam's runner for Flink 1.19 at 2.70.0, with its job
service held at 2.65.0. Who has a ready-made ``beam-runners-flink-1.19-job-server`` names it in ``HEADRACE_JOB_SERVER_JAR``.
"""

from runners import binaries

REVISION = binaries.REVISION  # of what is made here of Flink

FLINK_MINOR = binaries.FLINK_MINOR
FLINK = f"{FLINK_MINOR}.3"
FLINK_SDIST_SHA256 = "4a58e3a1fb7d83340bc96b6c080624c6d792d69fae5d294b96224775204a9c60"
FLINK_SDIST_BYTES = 230_366_372

KAFKA = "4.1.2"
KAFKA_SCALA = "2.13"
SLF4J_SIMPLE = "1.7.36"
KAFKA_JARS_SHA256 = "92aab136fc20e69cafef8b2a988eb95336f78e97da4bc92e2099c9abb26d98d7"  # devstack.recipes.jars_digest

BEAM_FLINK_RUNNER = binaries.BEAM_FLINK_RUNNER
BEAM_JOB_SERVICE = "2.65.0"
JOB_SERVER_JARS_SHA256 = "1cc1d1407ed37fcdd9e85e069ed0a4d32ff596acfcfd3c153a167b6f41ce86e5"  # of what it is packaged of

PRISM = binaries.PRISM

FAKE_GCS_SERVER = "1.56.1"

APICURIO = "3.0.9"
APICURIO_SHA256 = "2b28181501a20cbf6efcd77f9b7153908fc01f3d3a7c32024c0bd9e1b04c8a43"
MAVEN_COPY_PLUGIN = "2.10"  # later ones also want the parent of an artifact's POM, which mirrors may not carry

MAVEN_SHADE_PLUGIN = "3.5.0"
MAVEN_DEPENDENCY_PLUGIN = "3.6.1"
JDK_AT_LEAST = 17
