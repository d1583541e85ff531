"""A job on Kubernetes that submits to the cluster of ``templates/kubernetes/cluster.yaml``, made from checked parameters."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from contracts.errors import ConfigurationError
from templates.build.catalog import Template
from templates.build.flex import ROOT
from templates.build.parameters import Parameter, arguments_of, check_parameters, parameters_of

FOLDER = ROOT / "templates" / "kubernetes"
PROJECT_MOUNT, KAFKA_MOUNT = "/etc/headrace/project", "/etc/headrace/kafka"
# The cluster's manifest says these.
_FIXED = {"runner", "workers", "max_parallel", "flink", "python_workers", "python_workers_per_taskmanager"}
_MAY_ASK_FLINK = {"headrace.flink/client": "true"}  # network-policy.yaml
_LONGEST_NAME = 63
_HEAD = """\
# Submits one job and ends. Never tried again by itself: a second submission would be a second job.
# Made by: headrace template build {template} --for kubernetes --image {image}{parameters}
"""


@dataclass(frozen=True)
class Cluster:
    """What its manifest says. slots: of all TaskManagers. slots_each: of one. pool: HOST:PORT of its workers. image: ours."""

    slots: int
    slots_each: int
    pool: str
    image: str

    @classmethod
    def read(cls) -> Cluster:
        """The cluster of ``cluster.yaml``.

        Raises:
            ConfigurationError: this is an installation without the clone's templates.
        """
        spec = yaml.safe_load(manifest("cluster.yaml"))["spec"]
        each = int(spec["flinkConfiguration"]["taskmanager.numberOfTaskSlots"])
        workers = spec["taskManager"]["podTemplate"]["spec"]["containers"][1]
        pool = f"localhost:{workers['ports'][0]['containerPort']}"
        return cls(each * spec["taskManager"]["replicas"], each, pool, workers["image"])


def manifest(name: str) -> str:
    """The text of a manifest.

    Raises:
        ConfigurationError: it is not there.
    """
    path = FOLDER / name
    if not path.is_file():
        raise ConfigurationError(f"no {path}: manifests are part of a clone of the code, not of an installed package")
    return path.read_text("utf-8")


def kubernetes_parameters(template: Template) -> tuple[Parameter, ...]:
    """The parameters that a job on the cluster has: all but those that the cluster's manifest decides."""
    return tuple(p for p in parameters_of(template) if p.name not in _FIXED)


def submission(template: Template, given: Mapping[str, str], image: str) -> str:
    """The manifest of the job, as text.

    Raises:
        ConfigurationError: names every parameter that is unknown, missing or wrong; or they do not make a name for the job.
    """
    check_parameters(template, given, kubernetes_parameters(template))
    cluster = Cluster.read()
    where = {
        "runner": "flink",
        template.workers: str(cluster.slots),
        "python_workers": f"external:{cluster.pool}",
        "python_workers_per_taskmanager": str(cluster.slots_each),
    }
    command = ["headrace", *arguments_of(template, {**given, **where}), f"--project={PROJECT_MOUNT}", "--json"]
    name = re.sub(r"[^a-z0-9]+", "-", "-".join(("headrace", *_verb(template), given[template.argument])).lower())
    if len(name) > _LONGEST_NAME:
        raise ConfigurationError(f"template {template.name}: {name!r} is too long for the name of a job: at most {_LONGEST_NAME}")
    shown = "".join(f" \\\n#     -p {key}={shlex.quote(value)}" for key, value in given.items())
    return _HEAD.format(template=template.name, image=image, parameters=shown) + yaml.safe_dump(
        _job(name, command, image, template.secrets), sort_keys=False, width=120, allow_unicode=True
    )


def _verb(template: Template) -> tuple[str, ...]:
    return ("submit",) if template.name == "ingest" else (template.name,)


def _job(name: str, command: list[str], image: str, secrets: tuple[str, ...]) -> dict[str, Any]:
    volumes: list[tuple[str, str, dict[str, Any]]] = [
        ("data", "/data", {"persistentVolumeClaim": {"claimName": "headrace-data"}}),
        ("project", PROJECT_MOUNT, {"configMap": {"name": "headrace-project"}}),
        ("kafka", KAFKA_MOUNT, {"secret": {"secretName": "headrace-kafka"}}),
    ]
    container = {
        "name": "submit",
        "image": image,
        "workingDir": "/data",
        "command": command,
        "env": [{"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {"name": "headrace-catalog", "key": "password"}}}],
        **({"envFrom": [{"secretRef": {"name": secret}} for secret in secrets]} if secrets else {}),
        "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}},
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path, _ in volumes],
    }
    pod = {
        "restartPolicy": "Never",
        "securityContext": {"runAsUser": 9999, "runAsGroup": 9999, "fsGroup": 9999},
        "containers": [container],
        "volumes": [{"name": volume, **what} for volume, _, what in volumes],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": _MAY_ASK_FLINK}, "spec": pod}},
    }


def with_image(text: str, image: str) -> str:
    """A manifest of the clone, with another image in place of ours."""
    return text.replace(f"image: {Cluster.read().image}", f"image: {image}")
