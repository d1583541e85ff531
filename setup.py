"""Headrace: the data pipeline layer of a Customer Data Platform. Packages, extras and the console script; nothing clever."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'VERSION = "(.+)"', (HERE / "contracts" / "version.py").read_text("utf-8"))[1]

setup(
    name="headrace",
    version=VERSION,
    description="The data pipeline layer of a Customer Data Platform, on Apache Beam",
    long_description=(HERE / "README.md").read_text("utf-8") if (HERE / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.12",
    packages=find_packages(
        include=[
            f"{name}*"
            for name in (
                "contracts",
                "lake",
                "quality",
                "transforms",
                "runners",
                "pipelines",
                "operations",
                "templates",
                "cli",
                "devstack",
            )
        ]
    ),
    package_data={"contracts": ["datasets/*.yaml", "destinations/*.yaml", "catalogue/page.*"], "devstack": ["java/*.java"]},
    install_requires=[  # exact versions: requirements/base.lock
        "apache-beam==2.77.*",  # the graph and its runners
        "pyarrow>=25,<26",  # columns, Parquet
        "pyiceberg[sql-sqlite]==0.12.*",  # tables: atomic commits, time travel; SQLite catalog
        "fastavro[snappy,zstandard]>=1.13",  # Avro files, with the codecs that Spark and others write
        "Jinja2>=3.1,<4",  # the catalogue's page, escaped
        "avro>=1.12,<2",  # whether one Avro schema reads data of another: fastavro tells only when it reads
        "confluent-kafka>=2.16",  # Kafka's consumer, producer and admin client
        "msgspec>=0.22",  # JSON: strict, fast, with canonical output
        "xxhash>=4.1",  # fingerprints, content hashes, shards
        "httpx>=0.28,<0.29",  # delivery over HTTP: requests and answers
        "httpcore>=1.0,<2",  # its pool of connections, with a network that keeps time limits
        "tenacity>=9.1",  # backoff with jitter
        "zstandard>=0.25",  # zstd input
        "open-data-contract-standard>=3.2,<3.3",  # reads contracts
        "PyYAML>=6",  # reads source specs and projects
        "click>=8.5",  # the command line
        "rich>=15",  # tables and progress bars
        "tzdata",  # IANA time zones where the system has none
    ],
    extras_require={
        "gcs": ["google-cloud-storage>=3.10,<4"],  # lakes and inputs at gs://
        "s3": ["boto3>=1.44,<2"],  # lakes and inputs at s3://
        "postgres": ["psycopg[binary]>=3.3,<4"],  # an Iceberg catalog on PostgreSQL
        "quality": ["great-expectations>=1.24,<2", "duckdb>=2.0,<3"],  # the suite of a contract; rules of type sql
        "airflow": [
            "apache-airflow==3.3.*",
            "apache-airflow-providers-standard>=1.21",
        ],  # DAGs; better in an environment of its own
        "cdp": ["starlette>=1.10,<2", "uvicorn>=0.54,<1"],  # headrace stack up --with cdp
    },
    entry_points={
        "console_scripts": ["headrace = cli.main:run"],
        "airflow.plugins": ["headrace = templates.airflow.plugin:HeadracePlugin"],
    },
)
