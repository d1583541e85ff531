"""A Flink session cluster without Flink's shell scripts: one JobManager, TaskManagers, RocksDB, checkpoints on local disk.

Why each setting is as it is stands beside it. Settings under ``execution.checkpointing`` are read by who submits a job, not by the
cluster: Beam's job server takes them from the same folder, when a job is submitted with ``--flink_conf_dir``.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from contracts.errors import ComponentDownError, ConfigurationError
from devstack.component import Component, Start
from devstack.layout import Layout, Settings, taskmanager_name
from devstack.recipes import METRICS_REPORTER

_JOBMANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASKMANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
_MEMORY_TOOL = "org.apache.flink.runtime.util.bash.BashJavaUtils"
_MEMORY_TOOL_PREFIX = "BASH_JAVA_UTILS_EXEC_RESULT:"
_MEMORY_TOOL_TIMEOUT_S = 180
_REST_TIMEOUT_S = 2.0
# What Flink's own config.yaml gives to every JVM since Java 17 closed its modules.
_EXPORTS = (
    "java.base/sun.net.util java.rmi/sun.rmi.registry jdk.compiler/com.sun.tools.javac.api jdk.compiler/com.sun.tools.javac.file "
    "jdk.compiler/com.sun.tools.javac.parser jdk.compiler/com.sun.tools.javac.tree jdk.compiler/com.sun.tools.javac.util "
    "java.security.jgss/sun.security.krb5"
)
_OPENS = (
    "java.base/java.lang java.base/java.net java.base/java.io java.base/java.nio java.base/sun.nio.ch java.base/java.lang.reflect "
    "java.base/java.text java.base/java.time java.base/java.util java.base/java.util.concurrent "
    "java.base/java.util.concurrent.atomic java.base/java.util.concurrent.locks"
)
_MODULES = [
    *(f"--add-exports={name}=ALL-UNNAMED" for name in _EXPORTS.split()),
    *(f"--add-opens={name}=ALL-UNNAMED" for name in _OPENS.split()),
]
_JOBMANAGER_MEMORY = ("-Xms256m", "-Xmx768m", "-XX:MaxMetaspaceSize=512m")
_LOG4J = """\
rootLogger.level = INFO
rootLogger.appenderRef.out.ref = out
appender.out.name = out
appender.out.type = CONSOLE
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %-5p %c{1} - %m%n
logger.pekko.name = org.apache.pekko
logger.pekko.level = WARN
logger.netty.name = org.jboss.netty
logger.netty.level = ERROR
"""


def jobmanager(layout: Layout, settings: Settings, *, java: str, flink: Path) -> Component:
    """The JobManager; its REST interface is the cluster's address. flink: folder with lib, bin and plugins."""
    ports = settings.ports

    def prepare() -> Start:
        _write_configuration(layout, settings)
        tmp = _empty(layout.data / "tmp" / "jobmanager")
        jvm = [*_JOBMANAGER_MEMORY, _log4j(layout), *_MODULES]
        main = [_JOBMANAGER, "--configDir", str(layout.conf), *_dynamic(ports.jobmanager_metrics, tmp)]
        return Start(command=[java, *jvm, "-cp", _class_path(flink), *main], start_id="jobmanager")

    return Component(
        name="jobmanager",
        ports={name: getattr(ports, name) for name in ("flink_rest", "jobmanager_rpc", "jobmanager_blob", "jobmanager_metrics")},
        url=f"http://localhost:{ports.flink_rest}",
        log=layout.logs / "jobmanager.log",
        prepare=prepare,
        ready=lambda _: rest(ports.flink_rest, "/overview") is not None,
        env={"FLINK_PLUGINS_DIR": str(flink / "plugins")},
    )


def taskmanager(layout: Layout, settings: Settings, number: int = 1, *, java: str, flink: Path) -> Component:
    """The TaskManager of this number: runs jobs, and starts their Python workers as child processes."""
    name = taskmanager_name(number)
    ports = settings.ports.of_taskmanager(number)
    rpc, data, metrics = ports.values()

    def prepare() -> Start:
        _write_configuration(layout, settings)
        jvm, dynamic = _memory_parameters(java, flink, layout.conf)
        start_id = f"{name}-{secrets.token_hex(4)}"
        tmp = _empty(layout.data / "tmp" / name)
        dynamic += [f"-Dtaskmanager.resource-id={start_id}", *_dynamic(metrics, tmp)]
        dynamic += [f"-Dtaskmanager.rpc.port={rpc}", f"-Dtaskmanager.data.port={data}"]
        jvm += [_log4j(layout), *_MODULES]
        main = [_TASKMANAGER, "--configDir", str(layout.conf), *dynamic]
        return Start(command=[java, *jvm, "-cp", _class_path(flink), *main], start_id=start_id)

    def ready(start_id: str) -> bool:  # an earlier TaskManager stays in the list until its heartbeat times out
        listed = rest(settings.ports.flink_rest, "/taskmanagers") or {}
        return any(one["id"] == start_id and one["slotsNumber"] >= settings.slots for one in listed.get("taskmanagers", ()))

    return Component(
        name=name,
        ports=ports,
        url=f"http://localhost:{metrics}/metrics",
        log=layout.logs / f"{name}.log",
        prepare=prepare,
        ready=ready,
        env={"FLINK_PLUGINS_DIR": str(flink / "plugins"), "HEADRACE_WORKER_LOG_DIR": str(layout.logs)},
    )


def rest(port: int, path: str) -> Any | None:
    """One document of the cluster's REST interface; None where it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=_REST_TIMEOUT_S) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


def _log4j(layout: Layout) -> str:
    return f"-Dlog4j.configurationFile={layout.conf}/log4j.properties"


def _dynamic(metrics_port: int, tmp: Path) -> list[str]:
    return [f"-Dmetrics.reporter.prom.port={metrics_port}", f"-Dio.tmp.dirs={tmp}"]


def _empty(folder: Path) -> Path:
    """Without what a killed process left there: working state of RocksDB, copies of job jars."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _class_path(flink: Path) -> str:
    return ":".join(str(jar) for jar in sorted((flink / "lib").glob("*.jar")))


def _write_configuration(layout: Layout, settings: Settings) -> None:
    _write_whole(layout.conf / "config.yaml", yaml.safe_dump(_configuration(layout, settings), sort_keys=False))
    _write_whole(layout.conf / "log4j.properties", _LOG4J)


def _write_whole(path: Path, text: str) -> None:
    """Managers that start side by side write and read the same file."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)


def _configuration(layout: Layout, settings: Settings) -> dict[str, Any]:
    ports = settings.ports
    return {
        "jobmanager.rpc.address": "127.0.0.1",
        "jobmanager.bind-host": "127.0.0.1",
        "jobmanager.rpc.port": ports.jobmanager_rpc,
        "blob.server.port": str(ports.jobmanager_blob),
        "rest.address": "127.0.0.1",
        "rest.bind-address": "127.0.0.1",
        "rest.port": ports.flink_rest,
        "rest.bind-port": str(ports.flink_rest),
        "jobmanager.memory.process.size": "1600m",
        "taskmanager.host": "127.0.0.1",
        "taskmanager.bind-host": "127.0.0.1",
        "taskmanager.memory.process.size": settings.taskmanager_memory,
        "taskmanager.memory.task.off-heap.size": "768m",  # for Beam's gRPC; with the default the first job dies of it
        "taskmanager.memory.managed.fraction": 0.2,  # for RocksDB, which holds little; panes that fire are in the heap
        "taskmanager.memory.jvm-metaspace.size": "512m",  # every submission brings Beam's classes once more
        "taskmanager.numberOfTaskSlots": settings.slots,
        "taskmanager.load-balance.mode": "SLOTS",  # else Flink fills one TaskManager before it gives work to the next
        "parallelism.default": settings.slots * settings.taskmanagers,
        "state.backend.type": "rocksdb",
        "state.backend.incremental": True,
        "state.checkpoints.dir": layout.checkpoints.as_uri(),
        "state.savepoints.dir": layout.savepoints.as_uri(),
        "state.checkpoints.num-retained": 3,
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.tolerable-failed-checkpoints": 10,
        "restart-strategy.type": "exponential-delay",  # never gives up: a job in trouble stays visible, as restarts
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "30 s",
        "restart-strategy.exponential-delay.reset-backoff-threshold": "2 min",
        "heartbeat.interval": 2_000,
        "heartbeat.timeout": 12_000,  # a killed TaskManager is noticed within that
        "slot.request.timeout": 60_000,
        "slot.idle.timeout": 10_000,
        "metrics.reporters": "prom",
        "metrics.reporter.prom.factory.class": METRICS_REPORTER,
        "web.submit.enable": False,  # no jars by the web page; Beam submits by another way
    }


def _memory_parameters(java: str, flink: Path, conf: Path) -> tuple[list[str], list[str]]:
    """JVM flags and dynamic properties of the TaskManager's memory, as Flink's own tool computes them."""
    class_path = f"{flink}/bin/bash-java-utils.jar:{_class_path(flink)}"
    tool = [java, "-cp", class_path, _MEMORY_TOOL, "GET_TM_RESOURCE_PARAMS", "--configDir", str(conf)]
    done = subprocess.run(tool, capture_output=True, text=True, timeout=_MEMORY_TOOL_TIMEOUT_S, check=False)
    lines = [line.partition(_MEMORY_TOOL_PREFIX)[2] for line in done.stdout.splitlines() if _MEMORY_TOOL_PREFIX in line]
    if done.returncode or len(lines) != 2:
        if "IllegalConfigurationException" in done.stderr + done.stdout:
            raise ConfigurationError("taskmanager: its memory does not hold what Flink needs; give more with --taskmanager-memory")
        raise ComponentDownError("taskmanager: Flink's BashJavaUtils did not compute its memory; is this JDK 17 or newer complete?")
    return lines[0].split(), lines[1].split()
