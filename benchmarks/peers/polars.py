"""The work of ``headrace ingest web`` as a polars user writes it: lazy frames over NDJSON with a schema, one chain of when/then.

    python -m benchmarks.peers.polars SAMPLE OUTPUT [--threads 2]

``scan_ndjson`` ends at the first line that is no JSON, with ``ignore_errors`` too: so it can have
only the readable part of a sample.
It knows no map, so consent is a struct of the categories that there are; and nothing of fields that the schema does not name.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

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
OBJECTS = ("context", "properties", "traits", "integrations")
COLUMNS = (
    "event_id", "event_type", "event_name", "user_id", "anonymous_id", "previous_id", "group_id", "original_timestamp", "sent_at",
    "received_at", "event_time", "consent", "ip", "user_agent", "locale", "page_url", "campaign_name", "campaign_source",
    "campaign_medium", "campaign_term", "campaign_content", "device_id", "library", "library_version", "context", "properties",
    "traits", "integrations",
)  # fmt: skip
LENGTHS = {
    "event_id": 256, "event_name": 256, "user_id": 256, "anonymous_id": 256, "previous_id": 256, "group_id": 256,
    "ip": 64, "user_agent": 2048, "locale": 64, "page_url": 8192,
}  # fmt: skip
STABLE = tuple(name for name in COLUMNS if name not in ("event_id", "sent_at", "received_at", "event_time"))
NO_VALUE = ("", "null", "undefined", "None", "00000000-0000-0000-0000-000000000000")
TYPES = ("track", "identify", "page", "screen", "group", "alias")


def run(sample: Path, output: Path) -> None:
    """All of it."""
    import polars as pl  # noqa: PLC0415 - reads the number of threads when it is imported

    text = pl.String
    context = pl.Struct(
        {
            **{name: text for name in ("ip", "userAgent", "locale", "traffic")},
            "page": pl.Struct({"url": text}),
            "device": pl.Struct({"id": text}),
            "library": pl.Struct({"name": text, "version": text}),
            "consent": pl.Struct({"categoryPreferences": pl.Struct({"analytics": pl.Boolean, "advertising": pl.Boolean})}),
            "campaign": pl.Struct({name: text for name in ("name", "source", "medium", "term", "content")}),
        }
    )
    names = ("type", "event", "name", *IDS.values(), *TIMES.values(), *OBJECTS, "schemaVersion")
    files = sorted(sample.glob("*.jsonl"))
    modified = pl.LazyFrame(
        {"file": list(map(str, files)), "modified": [path.stat().st_mtime_ns // 1_000 for path in files]},
        schema={"file": text, "modified": pl.Datetime("us", "UTC")},
    )

    def time(name: str) -> pl.Expr:
        value = pl.col(name)
        digits = value.cast(pl.Int64, strict=False)
        number = (
            pl.when(value.str.len_bytes() == 10)
            .then(digits * 1_000_000)
            .when(value.str.len_bytes() == 13)
            .then(digits * 1_000)
            .when(value.str.len_bytes() == 16)
            .then(digits)
        )
        usual = value.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC", strict=False)
        zoned = value.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", strict=False).dt.convert_time_zone("UTC")
        return pl.coalesce(usual, zoned, number.cast(pl.Datetime("us", "UTC")))

    def value(column: pl.Expr) -> pl.Expr:
        return pl.when(~column.is_in(NO_VALUE)).then(column)

    def nested(path: str) -> pl.Expr:
        first, *others = path.split(".")
        found = pl.col("inner").struct.field(first)
        for name in others:
            found = found.struct.field(name)
        return found

    parsed = (
        pl.scan_ndjson(f"{sample}/*.jsonl", schema=dict.fromkeys(names, text), include_file_paths="file")
        .with_columns(inner=pl.col("context").str.json_decode(context))
        .select(
            "file",
            "schemaVersion",
            *OBJECTS,
            pl.col("type").alias("event_type"),
            pl.coalesce("event", "name").alias("event_name"),
            *(value(pl.col(path)).alias(name) for name, path in IDS.items()),
            *(time(path).alias(name) for name, path in TIMES.items()),
            *((pl.col(path).is_not_null() & time(path).is_null()).alias(f"bad_{name}") for name, path in TIMES.items()),
            *(nested(path).alias(name) for name, path in NESTED.items()),
        )
        .filter(~pl.col("traffic").is_in(["synthetic", "bot"]).fill_null(False))
    )

    def too_long(*columns: str) -> pl.Expr:
        return pl.any_horizontal((pl.col(name).str.len_chars() > LENGTHS[name]).fill_null(False) for name in columns)

    def given(name: str) -> pl.Expr:
        return pl.col(name).is_not_null()

    kind = pl.col("event_type")
    missing = (
        (~given("user_id") & ~given("anonymous_id"))
        | ((kind == "track") & ~given("event_name"))
        | ((kind == "group") & ~given("group_id"))
        | ((kind == "alias") & (~given("previous_id") | ~given("user_id")))
        | ((kind == "identify") & ~given("user_id") & ~given("traits"))
    )
    code = (
        pl.when(~pl.col("schemaVersion").is_in(["1", "2"]).fill_null(True))
        .then(pl.lit("unknown_schema_version"))
        .when(too_long("event_id"))
        .then(pl.lit("bad_length"))
        .when(kind.is_null())
        .then(pl.lit("missing_required"))
        .when(~kind.is_in(TYPES))
        .then(pl.lit("not_in_enum"))
        .when(too_long("event_name", "user_id", "anonymous_id", "previous_id", "group_id"))
        .then(pl.lit("bad_length"))
        .when(pl.any_horizontal(f"bad_{name}" for name in TIMES))
        .then(pl.lit("bad_timestamp"))
        .when(too_long("ip", "user_agent", "locale", "page_url"))
        .then(pl.lit("bad_length"))
        .when(missing)
        .then(pl.lit("missing_required"))
    )
    judged = parsed.with_columns(code=code).collect()
    (output / "dead_letters").mkdir(parents=True)
    judged.filter(given("code")).select("code").write_parquet(output / "dead_letters/part.parquet", compression="zstd")

    original = pl.coalesce("original_timestamp", "timestamp")
    time_of = pl.col("original_timestamp")
    low, high = pl.col("received_at") - pl.duration(days=30), pl.col("received_at") + pl.duration(hours=1)
    believed = time_of.is_between(low, high)
    estimate = pl.col("received_at") - (pl.col("sent_at") - time_of)
    bounded = pl.when(estimate.is_between(low, high) & (pl.col("has_clock") | believed)).then(estimate)
    window_time = (
        pl.when(time_of.is_null())
        .then("received_at")
        .when(believed | ~pl.col("has_clock"))
        .then(time_of)
        .otherwise(pl.coalesce(bounded, "received_at"))
    )
    winners = (
        judged.lazy()
        .filter(pl.col("code").is_null())
        .join(modified, on="file")
        .with_columns(
            original_timestamp=original,
            has_clock=given("received_at"),
            received_at=pl.coalesce("received_at", "modified"),
        )
        .with_columns(event_time=bounded, window_time=window_time, fingerprint=pl.struct(STABLE).hash())
        .with_columns(event_id=pl.coalesce("event_id", pl.lit("fp-") + pl.col("fingerprint").cast(text)))
        .sort("received_at", "fingerprint")
        .unique("event_id", keep="first", maintain_order=True)
        .sort("window_time", "event_id")
        .select(*COLUMNS, hour=pl.col("window_time").dt.truncate("1h"), shard=pl.col("event_id").hash() % 4)
        .collect()
    )
    winners.write_parquet(output / "rows", partition_by=["hour", "shard"], compression="zstd")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.polars")
    parser.add_argument("sample", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    os.environ["POLARS_MAX_THREADS"] = str(options.threads)
    run(options.sample, options.output)


if __name__ == "__main__":
    main()
