"""The work of ``headrace ingest web`` as a DuckDB user writes it: lines as text, JSON functions, one CASE for the reasons, Parquet.

    python -m benchmarks.peers.duckdb SAMPLE OUTPUT [--threads 2]

Nesting is told by counting brackets, since DuckDB has no function for depth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import duckdb

# Column of the contract: path in the payload, and its longest text.
TEXTS = {
    "event_id": ("$.messageId", 256),
    "event_type": ("$.type", None),
    "event": ("$.event", 256),
    "name": ("$.name", 256),
    "user_id": ("$.userId", 256),
    "anonymous_id": ("$.anonymousId", 256),
    "previous_id": ("$.previousId", 256),
    "group_id": ("$.groupId", 256),
    "original_timestamp": ("$.originalTimestamp", None),
    "timestamp": ("$.timestamp", None),
    "sent_at": ("$.sentAt", None),
    "received_at": ("$.receivedAt", None),
    "consent": ("$.context.consent.categoryPreferences", None),
    "ip": ("$.context.ip", 64),
    "user_agent": ("$.context.userAgent", 2048),
    "locale": ("$.context.locale", 64),
    "page_url": ("$.context.page.url", 8192),
    "campaign_name": ("$.context.campaign.name", None),
    "campaign_source": ("$.context.campaign.source", None),
    "campaign_medium": ("$.context.campaign.medium", None),
    "campaign_term": ("$.context.campaign.term", None),
    "campaign_content": ("$.context.campaign.content", None),
    "device_id": ("$.context.device.id", None),
    "library": ("$.context.library.name", None),
    "library_version": ("$.context.library.version", None),
    "context": ("$.context", None),
    "properties": ("$.properties", None),
    "traits": ("$.traits", None),
    "integrations": ("$.integrations", None),
    "traffic": ("$.context.traffic", None),
    "version": ("$.schemaVersion", None),
}
KNOWN = (
    "messageId", "type", "event", "name", "userId", "anonymousId", "previousId", "groupId", "originalTimestamp", "timestamp",
    "sentAt", "receivedAt", "context", "properties", "traits", "integrations", "schemaVersion", "channel", "writeKey",
)  # fmt: skip
IDS = ("event_id", "user_id", "anonymous_id", "previous_id", "group_id", "device_id")
TIMES = ("original_timestamp", "timestamp", "sent_at", "received_at")
OBJECTS = ("consent", "context", "properties", "traits", "integrations")
NO_VALUE = "('', 'null', 'undefined', 'None', '00000000-0000-0000-0000-000000000000')"
TYPES = "('track', 'identify', 'page', 'screen', 'group', 'alias')"
# In the order of the contract, since the first reason counts.
CHECKED = (
    "event_id", "event_type", "event", "name", "user_id", "anonymous_id", "previous_id", "group_id", *TIMES, "consent", "ip",
    "user_agent", "locale", "page_url", "campaign_name", "campaign_source", "campaign_medium", "campaign_term", "campaign_content",
    "device_id", "library", "library_version", "context", "properties", "traits", "integrations",
)  # fmt: skip
COLUMNS = (
    "event_id", "event_type", "event_name", "user_id", "anonymous_id", "previous_id", "group_id", "original_timestamp", "sent_at",
    "received_at", "event_time", "consent", "ip", "user_agent", "locale", "page_url", "campaign_name", "campaign_source",
    "campaign_medium", "campaign_term", "campaign_content", "device_id", "library", "library_version", "context", "properties",
    "traits", "integrations", "unknown_fields",
)  # fmt: skip
STABLE = tuple(name for name in COLUMNS if name not in ("event_id", "sent_at", "received_at", "event_time", "unknown_fields"))

MACROS = """
create macro as_time(v, t) as case
  when t = 'VARCHAR' and v like '____-__-__T__:__:__%Z' then try_cast(v as timestamp)
  when t = 'VARCHAR' and regexp_full_match(
    v, '\\d{4}-\\d\\d-\\d\\d[Tt ]\\d\\d:\\d\\d(:\\d\\d([.,]\\d{1,12})?)? ?(Z|z|UTC|[+-]\\d\\d(:?\\d\\d)?)'
  ) then try_cast(v as timestamp)
  when t in ('UBIGINT', 'BIGINT') and length(v) = 10 then make_timestamp(v::bigint * 1000000)
  when t in ('UBIGINT', 'BIGINT') and length(v) = 13 then make_timestamp(v::bigint * 1000)
  when t in ('UBIGINT', 'BIGINT') and length(v) = 16 then make_timestamp(v::bigint) end
"""


def reason() -> str:
    """The code of the first thing that is wrong with a line, as SQL."""
    whens = ["when version is not null and version not in ('1', '2') then 'unknown_schema_version'"]
    for name in CHECKED:
        kind = f"t_{name}"
        if name in OBJECTS:
            whens.append(f"when {kind} <> 'OBJECT' then 'wrong_type'")
            continue
        if name in TIMES:
            whens.append(f"when {kind} is not null and {kind} <> 'NULL' and at_{name} is null then 'bad_timestamp'")
            continue
        if name == "event_type":
            whens.append("when event_type is null then 'missing_required'")
        whens.append(f"when {name} is not null and {kind} <> 'VARCHAR' then 'wrong_type'")
        if name == "event_type":
            whens.append(f"when event_type not in {TYPES} then 'not_in_enum'")
        elif TEXTS[name][1]:
            whens.append(f"when length({name}) > {TEXTS[name][1]} then 'bad_length'")
    whens += [
        "when user_id is null and anonymous_id is null then 'missing_required'",
        "when event_type = 'track' and event_name is null then 'missing_required'",
        "when event_type = 'group' and group_id is null then 'missing_required'",
        "when event_type = 'alias' and (previous_id is null or user_id is null) then 'missing_required'",
        "when event_type = 'identify' and user_id is null and traits is null then 'missing_required'",
    ]
    return "case " + "\n".join(whens) + " end"


def run(sample: Path, output: Path, threads: int) -> None:
    """All of it."""
    (output / "dead_letters").mkdir(parents=True)
    # Beyond that it spills. Its default, 80 % of the machine's memory, is more than a contestant may take.
    spilled = str(output / "spilled")
    connection = duckdb.connect(config={"threads": threads, "temp_directory": spilled, "memory_limit": "10GB"})
    connection.execute("set TimeZone = 'UTC'")
    connection.execute(MACROS)
    times = [(str(path), path.stat().st_mtime_ns // 1_000) for path in sample.glob("*.jsonl")]  # read_blob knows seconds only
    connection.execute("create temp table files (filename varchar, modified timestamp)")
    connection.executemany("insert into files select ?, make_timestamp(?)", times)
    paths = "[" + ", ".join(f"'{path}'" for path, _ in TEXTS.values()) + "]"
    values = ", ".join(
        f"case when v[{i}] in {NO_VALUE} then null else v[{i}] end as {name}" if name in IDS else f"v[{i}] as {name}"
        for i, name in enumerate(TEXTS, 1)
    )
    kinds = ", ".join(f"k[{i}] as t_{name}" for i, name in enumerate(TEXTS, 1))
    connection.execute(f"""
    create temp table lines as
    select line, filename, case
        when strlen(line) > 1048576 then 'too_large'
        when length(line) > 64 and length(line) - length(translate(line, '{{[', '')) > 64 then 'too_deep'
        when not json_valid(line) or json_type(line) <> 'OBJECT' then 'malformed' end as code
    from read_csv('{sample}/*.jsonl', columns = {{'line': 'VARCHAR'}}, delim = e'\\x01', quote = '', escape = '', header = false,
        auto_detect = false, max_line_size = 8388608, filename = true, store_rejects = true)
    """)
    connection.execute(f"""
    create temp table checked as
    with extracted as (
        select line, filename, json_extract_string(line, {paths}) as v, json_type(line, {paths}) as k from lines where code is null
    ),
    named as (select line, filename, {values}, {kinds} from extracted),
    timed as (select *, {", ".join(f"as_time({name}, t_{name}) as at_{name}" for name in TIMES)},
        coalesce(event, name) as event_name from named where traffic is null or traffic not in ('synthetic', 'bot')),
    judged as (select *, {reason()} as code from timed)
    select * exclude ({", ".join(f"t_{name}" for name in TEXTS)}), coalesce(at_original_timestamp, at_timestamp) as original,
        coalesce(at_received_at, modified) as received
    from judged join files using (filename)
    """)
    connection.execute(f"""
    copy (
        select code, line as raw from lines where code is not null
        union all select code, line from checked where code is not null
        union all select 'invalid_encoding', csv_line from reject_errors where error_type = 'INVALID ENCODING'
    ) to '{output}/dead_letters/part.parquet' (format parquet, compression zstd)
    """)
    content = ", ".join(f"{name}::varchar" for name in STABLE)
    connection.execute(f"""
    copy (
        with estimated as (
            select *, received - (at_sent_at - original) as estimate, received - interval 30 days as low,
                received + interval 1 hour as high from checked where code is null
        ), estimated_within as (
            select *, case when estimate between low and high and (at_received_at is not null or original between low and high)
                then estimate end as bounded from estimated
        ), rows as (
            select event_id as given_id, event_type, event_name, user_id, anonymous_id, previous_id, group_id,
                original as original_timestamp, at_sent_at as sent_at, received as received_at, bounded as event_time,
                try_cast(consent::json as map(varchar, boolean)) as consent, ip, user_agent, locale, page_url, campaign_name,
                campaign_source, campaign_medium, campaign_term, campaign_content, device_id, library, library_version, context,
                properties, traits, integrations,
                case when not list_has_all({list(KNOWN)}, json_keys(line)) then
                    (select json_group_object(key, json_extract(line, '$."' || key || '"'))
                    from unnest(json_keys(line)) as keys(key) where key not in {KNOWN}) end as unknown_fields,
                case when original is null then received when original between low and high or at_received_at is null then original
                    else coalesce(bounded, received) end as window_time
            from estimated_within
        ), identified as (
            select *, coalesce(given_id, 'fp-' || md5(concat_ws(chr(1), {content}))) as event_id,
                hash({", ".join(STABLE)}) as fingerprint from rows
        )
        select {", ".join(COLUMNS)}, date_trunc('hour', window_time) as hour, hash(event_id) % 4 as shard from identified
        qualify row_number() over (partition by event_id order by received_at, fingerprint) = 1
        order by window_time, event_id
    ) to '{output}/rows' (format parquet, compression zstd, partition_by (hour, shard))
    """)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.duckdb")
    parser.add_argument("sample", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    run(options.sample, options.output, options.threads)


if __name__ == "__main__":
    main()
