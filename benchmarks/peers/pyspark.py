"""The work of ``headrace ingest web`` as a Spark user writes it: text lines, ``from_json``, one CASE for the reasons, Parquet.

    python -m benchmarks.peers.pyspark SAMPLE OUTPUT [--threads 2]

Nesting is told by counting brackets, since Spark has no function for depth.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import reduce
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

LENGTHS = {
    "event_id": 256, "event": 256, "name": 256, "user_id": 256, "anonymous_id": 256, "previous_id": 256, "group_id": 256,
    "ip": 64, "user_agent": 2048, "locale": 64, "page_url": 8192,
}  # fmt: skip
EVENT = """
messageId variant, type variant, event string, name string, userId variant, anonymousId variant, previousId variant,
groupId variant, originalTimestamp string, `timestamp` string, sentAt string, receivedAt string, context string, properties string,
traits string, integrations string, schemaVersion string, _malformed string
"""
CONTEXT = """
ip string, userAgent string, locale string, traffic string, page struct<url: string>, device struct<id: string>,
library struct<name: string, version: string>, consent struct<categoryPreferences: map<string, boolean>>,
campaign struct<name: string, source: string, medium: string, term: string, content: string>, _malformed string
"""
KNOWN = (
    "messageId", "type", "event", "name", "userId", "anonymousId", "previousId", "groupId", "originalTimestamp", "timestamp",
    "sentAt", "receivedAt", "context", "properties", "traits", "integrations", "schemaVersion", "channel", "writeKey",
)  # fmt: skip
NO_VALUE = ("", "null", "undefined", "None", "00000000-0000-0000-0000-000000000000")
TYPES = ("track", "identify", "page", "screen", "group", "alias")
IDS = {
    "event_id": "messageId", "user_id": "userId", "anonymous_id": "anonymousId", "previous_id": "previousId",
    "group_id": "groupId",
}  # fmt: skip
TIMES = {
    "original_timestamp": "originalTimestamp", "timestamp": "timestamp", "sent_at": "sentAt", "received_at": "receivedAt",
}  # fmt: skip
NESTED = {
    "ip": "ip", "user_agent": "userAgent", "locale": "locale", "page_url": "page.url", "campaign_name": "campaign.name",
    "campaign_source": "campaign.source", "campaign_medium": "campaign.medium", "campaign_term": "campaign.term",
    "campaign_content": "campaign.content", "device_id": "device.id", "library": "library.name",
    "library_version": "library.version", "consent": "consent.categoryPreferences", "traffic": "traffic",
}  # fmt: skip
OBJECTS = ("properties", "traits", "integrations")
COLUMNS = (
    "event_id", "event_type", "event_name", "user_id", "anonymous_id", "previous_id", "group_id", "original_timestamp", "sent_at",
    "received_at", "event_time", "consent", "ip", "user_agent", "locale", "page_url", "campaign_name", "campaign_source",
    "campaign_medium", "campaign_term", "campaign_content", "device_id", "library", "library_version", "context", "properties",
    "traits", "integrations", "unknown_fields",
)  # fmt: skip
STABLE = tuple(n for n in COLUMNS if n not in ("event_id", "sent_at", "received_at", "event_time", "unknown_fields", "consent"))
RFC_3339 = r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d{1,12})?)? ?(Z|z|UTC|[+-]\d\d(:?\d\d)?)$"


def session(threads: int, more: Mapping[str, str] | None = None) -> SparkSession:
    """Spark in this process. more: settings."""
    settings = {
        "spark.driver.memory": "8g",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "8",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.variant.allowDuplicateKeys": "true",  # the last one counts, as in from_json
    } | dict(more or {})
    builder = SparkSession.builder.master(f"local[{threads}]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def events(spark: SparkSession, sample: Path) -> DataFrame:
    """Lines with the contract's columns."""
    return parsed(spark.read.text(f"{sample}/*.jsonl").select("value", F.col("_metadata.file_modification_time").alias("modified")))


def parsed(lines: DataFrame) -> DataFrame:
    """Lines with the contract's columns. lines: value, modified, and others, which stay."""
    brackets = F.length("value") - F.length(F.translate("value", "{[", ""))
    unread = (
        F.when(F.octet_length("value") > 1_048_576, "too_large")
        .when(~F.is_valid_utf8("value"), "invalid_encoding")
        .when(brackets > 64, "too_deep")
    )
    options = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": "_malformed", "allowNonNumericNumbers": "false"}
    read = lines.withColumn("unread", unread).withColumn(
        "event", F.from_json(F.when(F.col("unread").isNull(), F.col("value")), EVENT, options)
    )
    nested = read.withColumn("inner", F.from_json("event.context", CONTEXT, options))
    found = {name: _text(f"event.{path}") for name, path in {**IDS, "event_type": "type"}.items()}
    found |= {name: F.col(f"inner.{path}") for name, path in NESTED.items()}
    found |= {name: _time(F.col(f"event.{path}")) for name, path in TIMES.items()}
    found |= {name: F.when(~found[name].isin(*NO_VALUE), found[name]) for name in (*IDS, "device_id")}
    found["event_name"] = F.coalesce("event.event", "event.name")
    found |= {name: F.col(f"event.{name}") for name in ("context", *OBJECTS)}
    return nested.select(*lines.columns, "unread", "event", "inner", *(column.alias(name) for name, column in found.items()))


def _text(path: str) -> Column:
    return F.col(path).cast("string")


def _time(text: Column) -> Column:
    return (
        F.when(text.rlike(RFC_3339), F.try_to_timestamp(text))
        .when(text.rlike(r"^\d{10}$"), F.timestamp_seconds(text.cast("long")))
        .when(text.rlike(r"^\d{13}$"), F.timestamp_millis(text.cast("long")))
        .when(text.rlike(r"^\d{16}$"), F.timestamp_micros(text.cast("long")))
    )


def reason() -> Column:
    """The code of the first thing that is wrong with an event."""
    no_json = F.col("event._malformed").isNotNull() | F.col("event").isNull()
    found = [
        (F.col("unread").isNotNull(), F.col("unread")),
        (no_json, F.lit("malformed")),
        (~F.coalesce("event.schemaVersion", F.lit("1")).isin("1", "2"), F.lit("unknown_schema_version")),
    ]
    for name, path in {**IDS, "event_type": "type"}.items():
        given = F.schema_of_variant(f"event.{path}")
        found.append((F.col(f"event.{path}").isNotNull() & ~given.isin("STRING", "VOID"), F.lit("wrong_type")))
        if name in LENGTHS:
            found.append((F.length(name) > LENGTHS[name], F.lit("bad_length")))
    found += [
        (F.col("event_type").isNull(), F.lit("missing_required")),
        (~F.col("event_type").isin(*TYPES), F.lit("not_in_enum")),
        (F.length("event_name") > LENGTHS["event"], F.lit("bad_length")),
    ]
    found += [(F.col(f"event.{path}").isNotNull() & F.col(name).isNull(), F.lit("bad_timestamp")) for name, path in TIMES.items()]
    found.append((F.col("inner._malformed").isNotNull(), F.lit("wrong_type")))
    found += [(F.length(n) > LENGTHS[n], F.lit("bad_length")) for n in ("ip", "user_agent", "locale", "page_url")]
    found += [(~F.col(name).startswith("{"), F.lit("wrong_type")) for name in OBJECTS]
    kind, user_id = F.col("event_type"), F.col("user_id")
    missing = (
        (user_id.isNull() & F.col("anonymous_id").isNull())
        | ((kind == "track") & F.col("event_name").isNull())
        | ((kind == "group") & F.col("group_id").isNull())
        | ((kind == "alias") & (F.col("previous_id").isNull() | user_id.isNull()))
        | ((kind == "identify") & user_id.isNull() & F.col("traits").isNull())
    )
    found.append((missing, F.lit("missing_required")))
    (condition, code), *others = found
    return reduce(lambda case, pair: case.when(*pair), others, F.when(condition, code))


def computed(good: DataFrame, *kept: str) -> DataFrame:
    """Rows with computed columns, and their window_time and fingerprint. kept: columns that are not the contract's."""
    original = F.coalesce("original_timestamp", "timestamp")
    received = F.coalesce("received_at", "modified")
    unknown = F.map_filter(F.from_json("value", "map<string, variant>"), lambda key, _: ~key.isin(*KNOWN))
    has_unknown = F.size(F.array_except(F.json_object_keys("value"), F.array(*map(F.lit, KNOWN)))) > 0
    timed = good.select(
        *kept,
        *(name for name in COLUMNS if name in good.columns and name not in ("event_id", "original_timestamp", "received_at")),
        F.col("event_id").alias("given_id"),
        original.alias("original_timestamp"),
        received.alias("received_at"),
        F.col("received_at").isNotNull().alias("has_clock"),
        F.when(has_unknown, F.to_json(unknown)).alias("unknown_fields"),
        (received - (F.col("sent_at") - original)).alias("estimate"),
        (received - F.expr("interval 30 days")).alias("low"),
        (received + F.expr("interval 1 hour")).alias("high"),
    )
    believed = F.col("original_timestamp").between(F.col("low"), F.col("high"))
    bounded = F.when(F.col("estimate").between(F.col("low"), F.col("high")) & (F.col("has_clock") | believed), F.col("estimate"))
    window_time = (
        F.when(F.col("original_timestamp").isNull(), F.col("received_at"))
        .when(believed | ~F.col("has_clock"), F.col("original_timestamp"))
        .otherwise(F.coalesce(bounded, F.col("received_at")))
    )
    content = [F.col(name) for name in STABLE if name in timed.columns]
    derived = F.concat(F.lit("fp-"), F.md5(F.concat_ws("\1", *(column.cast("string") for column in content)).cast("binary")))
    return timed.withColumns(
        {
            "event_time": bounded,
            "window_time": window_time,
            "event_id": F.coalesce("given_id", derived),
            "fingerprint": F.xxhash64(*content),
        }
    )


def unwanted() -> Column:
    """Whether it is traffic that nobody wants."""
    return F.coalesce(F.col("traffic").isin("synthetic", "bot"), F.lit(False))


def rows(good: DataFrame) -> DataFrame:
    """The winner of each event id, with computed columns."""
    order = Window.partitionBy("event_id").orderBy("received_at", "fingerprint")
    winners = computed(good).withColumn("place", F.row_number().over(order)).filter("place = 1")
    return winners.select(
        *COLUMNS,
        "window_time",
        F.date_trunc("hour", "window_time").alias("hour"),
        F.pmod(F.xxhash64("event_id"), F.lit(4)).alias("shard"),
    )


def run(sample: Path, output: Path, threads: int) -> None:
    """All of it."""
    spark = session(threads)
    judged = events(spark, sample).filter(~unwanted()).withColumn("code", reason()).persist()
    judged.filter("code is not null").select("code", F.col("value").cast("binary").alias("raw")).write.option(
        "compression", "zstd"
    ).parquet(f"{output}/dead_letters")
    ordered = rows(judged.filter("code is null")).repartition("hour", "shard")
    ordered = ordered.sortWithinPartitions("hour", "shard", "window_time", "event_id").drop("window_time")
    ordered.write.partitionBy("hour", "shard").parquet(f"{output}/rows")
    spark.stop()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.pyspark")
    parser.add_argument("sample", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    run(options.sample, options.output, options.threads)


if __name__ == "__main__":
    main()
