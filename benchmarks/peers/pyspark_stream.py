"""Kafka to Parquet as a Spark user writes it: Structured Streaming, ``dropDuplicatesWithinWatermark``, ``foreachBatch``.

    python -m benchmarks.peers.pyspark_stream HOST:PORT TOPIC OUTPUT CHECKPOINTS JARS [--threads 2]

What is parsed and judged is that of ``pyspark``. One query for rows and dead letters, since each query reads the topic anew: the id
of a dead letter is its place in the topic. The first row of an id goes on at once, so the end of a stream waits for no watermark;
that is the largest time of all partitions, and idle ones do not hold it. The time column is among those written: without it,
deduplication failed (SPARK-50492, apache/spark#49065). A batch that is repeated writes its folder anew.
"""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.peers.pyspark import COLUMNS, computed, parsed, reason, session, unwanted

TRIGGER, WATERMARK, WINDOW = "10 seconds", "1 minute", "1 minute"


def judged(messages: DataFrame) -> DataFrame:
    """A row or a dead letter per message, and each event id once: those have a code and their bytes."""
    lines = messages.select(
        F.col("value").cast("string").alias("value"),
        F.col("timestamp").alias("modified"),
        F.concat_ws("-", "partition", "offset").alias("place"),
    )
    told = parsed(lines).filter(~unwanted()).withColumn("code", reason())
    rows = computed(told, "code", "place", "value", "modified")
    failed = F.col("code").isNotNull()
    items = rows.select(
        *COLUMNS,
        "code",
        F.when(failed, F.col("value").cast("binary")).alias("raw"),
        F.when(failed, F.col("modified")).otherwise(F.col("window_time")).alias("window_time"),
        F.when(failed, F.col("place")).otherwise(F.col("event_id")).alias("key"),
    )
    once = items.withWatermark("window_time", WATERMARK).dropDuplicatesWithinWatermark(["key"])
    return once.withColumn("minute", F.unix_timestamp(F.window("window_time", WINDOW).end))


def run(broker: str, topic: str, output: Path, checkpoints: Path, jars: Path, threads: int) -> None:
    """Read until SIGTERM."""
    settings = {"spark.jars": ",".join(str(jar) for jar in sorted(jars.glob("*.jar"))), "spark.sql.shuffle.partitions": "4"}
    spark = session(threads, settings)
    source = {"kafka.bootstrap.servers": broker, "subscribe": topic, "startingOffsets": "earliest"}

    def write(batch: DataFrame, number: int) -> None:
        batch.persist()
        rows = batch.filter("code is null").drop("code", "raw", "key", "window_time")
        rows.write.mode("overwrite").partitionBy("minute").parquet(f"{output}/rows/batch={number}")
        letters = batch.filter("code is not null").select("code", "raw")
        letters.write.mode("overwrite").parquet(f"{output}/dead_letters/batch={number}")
        batch.unpersist()

    stream = judged(spark.readStream.format("kafka").options(**source).load()).writeStream
    query = stream.foreachBatch(write).option("checkpointLocation", str(checkpoints)).trigger(processingTime=TRIGGER).start()
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    while not asked.is_set():
        if query.awaitTermination(1):
            break
    query.stop()
    spark.stop()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.pyspark_stream")
    parser.add_argument("broker")
    parser.add_argument("topic")
    parser.add_argument("output", type=Path)
    parser.add_argument("checkpoints", type=Path)
    parser.add_argument("jars", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    run(options.broker, options.topic, options.output, options.checkpoints, options.jars, options.threads)


if __name__ == "__main__":
    main()
