"""The manifests for Kubernetes fit each other, the command line, and the schemas that a cluster would hold them to.

No cluster is asked. The schema is the custom resource definition of the Flink Kubernetes Operator (repository
apache/flink-kubernetes-operator, commit 6e9caeb4, Apache License 2.0). Its pod templates have the schema of Kubernetes' own, so
those of jobs and deployments are held to it too.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from cli.ingest import ingest
from cli.job import supervise
from cli.template import template
from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from pipelines.ingest.options import IngestOptions
from runners.option_fields import parse
from templates.build.catalog import TEMPLATES as PIPELINES
from templates.build.kubernetes import Cluster, submission
from transforms.kafka.connection import KafkaConnection

ROOT = Path(__file__).parents[3]
TEMPLATES = ROOT / "templates" / "kubernetes"
DEFINITION = ROOT / "tests" / "fixtures" / "kubernetes" / "flinkdeployments.flink.apache.org-v1.yml.gz"
_NOT_OURS = {"flink", "headrace-run-web"}  # made by the operator's chart; by the user, with the run id


def manifests() -> dict[tuple[str, str], Any]:
    """All of them, by kind and name."""
    found = [each for path in sorted(TEMPLATES.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text("utf-8"))]
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


MANIFESTS = manifests()
CLUSTER = MANIFESTS["FlinkDeployment", "headrace-flink"]
SUBMIT = MANIFESTS["Job", "headrace-submit-web"]
SUPERVISE = MANIFESTS["Deployment", "headrace-supervise-web"]
POLICY, CLIENTS = (MANIFESTS["NetworkPolicy", name] for name in ("headrace-flink", "headrace-clients"))


def strict(schema: Any) -> Any:
    """The schema, that accepts no field which it does not name: a cluster would drop it silently."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(part) for key, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        made["additionalProperties"] = schema.get("x-kubernetes-preserve-unknown-fields", False)
    return made


@pytest.fixture(scope="module")
def definition() -> Any:
    versions = yaml.load(gzip.decompress(DEFINITION.read_bytes()), yaml.CSafeLoader)["spec"]["versions"]
    return next(version["schema"]["openAPIV3Schema"] for version in versions if version["name"] == "v1beta1")


def problems(schema: Any, document: Any) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in Draft202012Validator(strict(schema)).iter_errors(document)]


def pod_template(definition: Any) -> Any:
    return definition["properties"]["spec"]["properties"]["taskManager"]["properties"]["podTemplate"]


def test_cluster_fits_the_operators_definition(definition: Any) -> None:
    assert CLUSTER["apiVersion"] == "flink.apache.org/v1beta1"
    assert problems(definition["properties"]["spec"], CLUSTER["spec"]) == []


def test_a_misspelt_field_would_be_found(definition: Any) -> None:
    spec = yaml.safe_load(yaml.safe_dump(CLUSTER["spec"]))
    spec["taskManager"]["podTemplate"]["spec"]["containers"][1]["volumeMount"] = []
    (problem,) = problems(definition["properties"]["spec"], spec)
    assert "volumeMount" in problem and problem.startswith("$.taskManager.podTemplate.spec.containers[1]")


@pytest.mark.parametrize("manifest", [SUBMIT, SUPERVISE], ids=["submit", "supervise"])
def test_pods_of_jobs_and_deployments_fit_the_schema_of_pods(definition: Any, manifest: Any) -> None:
    assert problems(pod_template(definition), manifest["spec"]["template"]) == []


def pods() -> Iterator[Any]:
    """Every pod's spec."""
    for part in ("jobManager", "taskManager"):
        yield CLUSTER["spec"][part]["podTemplate"]["spec"]
    for manifest in (SUBMIT, SUPERVISE):
        yield manifest["spec"]["template"]["spec"]


def test_what_pods_refer_to_is_there() -> None:
    kinds = {"secretName": "Secret", "claimName": "PersistentVolumeClaim", "secretKeyRef": "Secret", "configMapKeyRef": "ConfigMap"}
    for pod in pods():
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", ())} <= set(volumes)
        named = [
            *(("Secret", v["secret"]["secretName"]) for v in volumes.values() if "secret" in v),
            *(("ConfigMap", v["configMap"]["name"]) for v in volumes.values() if "configMap" in v),
            *(("PersistentVolumeClaim", v["persistentVolumeClaim"]["claimName"]) for v in volumes.values() if len(v) == 2
              and "persistentVolumeClaim" in v),
        ]  # fmt: skip
        for container in pod["containers"]:
            for variable in container.get("env", ()):
                for kind, where in variable.get("valueFrom", {}).items():
                    named.append((kinds[kind], where["name"]))
                    if where["name"] not in _NOT_OURS:
                        document = MANIFESTS[kinds[kind], where["name"]]
                        assert where["key"] in document.get("stringData", document.get("data", {}))
            named += [("Secret", source["secretRef"]["name"]) for source in container.get("envFrom", ())]
        assert {key for key in named if key[1] not in _NOT_OURS} <= set(MANIFESTS)


SUBMITTED = {
    "ingest": {
        "source": "web",
        "input": "kafka://kafka-bootstrap:9093/web-events",
        "client_config": "/etc/headrace/kafka/client.properties",
    },
    "replay": {"name": "fix-1", "dataset": "customer_event", "start": "2026-11-02T10:00:00Z", "end": "2026-11-02T11:00:00Z"},
    "deliver": {
        "destination": "segment",
        "input": "kafka://kafka-bootstrap:9093",
        "client_config": "/etc/headrace/kafka/client.properties",
    },
}


def test_the_committed_submission_is_what_the_template_makes() -> None:
    made = submission(PIPELINES["ingest"], SUBMITTED["ingest"], Cluster.read().image)
    assert made == (TEMPLATES / "submit-web.yaml").read_text("utf-8")


@pytest.mark.parametrize("name", PIPELINES)
def test_what_templates_make_fits_the_schema_of_pods(definition: Any, name: str) -> None:
    job = yaml.safe_load(submission(PIPELINES[name], SUBMITTED[name], "registry.example.com/headrace:0.1.0"))
    assert problems(pod_template(definition), job["spec"]["template"]) == []
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/headrace:0.1.0"
    assert container["command"][1 : 1 + len(PIPELINES[name].options.COMMAND)] == [*PIPELINES[name].options.COMMAND]
    assert "--runner=flink" in container["command"]


def test_write_keys_reach_whoever_needs_them_by_reference_alone() -> None:
    """Workers send; submissions of deliveries, and supervisors, read the destination. Kubernetes makes variables of a Secret."""
    destination, _ = Project.load(ROOT / "examples" / "webshop").destination("segment")
    assert destination.write_key.kind == "env"
    assert destination.write_key.name in MANIFESTS["Secret", "headrace-destinations"]["stringData"]
    pool = CLUSTER["spec"]["taskManager"]["podTemplate"]["spec"]["containers"][1]
    supervisor = SUPERVISE["spec"]["template"]["spec"]["containers"][0]
    job = submission(PIPELINES["deliver"], SUBMITTED["deliver"], "headrace:0.1.0")
    (submitter,) = yaml.safe_load(job)["spec"]["template"]["spec"]["containers"]
    for container in (pool, supervisor, submitter):
        assert [source["secretRef"]["name"] for source in container["envFrom"]] == ["headrace-destinations"]
    assert destination.write_key.name not in job
    assert "envFrom" not in SUBMIT["spec"]["template"]["spec"]["containers"][0]  # ingest sends nothing to anybody


def test_parameters_that_the_cluster_decides_or_a_shell_reads_are_refused() -> None:
    with pytest.raises(ConfigurationError) as error:
        submission(PIPELINES["ingest"], {"source": "web; id", "input": "a\nb", "runner": "direct"}, "headrace:0.1.0")
    assert all(part in str(error.value) for part in ("runner: where", "source=", "input="))
    with pytest.raises(ConfigurationError, match="too long"):
        submission(PIPELINES["ingest"], {"source": "w" * 60, "input": "kafka://k:9092/t"}, "headrace:0.1.0")


def test_build_writes_the_cluster_with_its_worker_pool_beside_the_submission(tmp_path: Path) -> None:
    given = [part for key, value in SUBMITTED["ingest"].items() for part in ("-p", f"{key}={value}")]
    image = "registry.example.com/headrace:0.2.0"
    result = CliRunner().invoke(
        template, ["build", "ingest", "--for", "kubernetes", "--image", image, "--out", str(tmp_path), *given]
    )
    assert result.exit_code == 0, result.output
    cluster = next(yaml.safe_load_all((tmp_path / "ingest" / "cluster.yaml").read_text()))
    images = [container.get("image") for container in cluster["spec"]["taskManager"]["podTemplate"]["spec"]["containers"]]
    assert images == [None, image]
    assert (tmp_path / "ingest" / "submit-ingest.yaml").exists()


def test_all_pods_run_as_one_user_and_see_the_volume_at_one_path() -> None:
    seen = {
        (str(pod["securityContext"]), next(m["mountPath"] for m in container["volumeMounts"] if m["name"] == "data"))
        for pod in pods()
        for container in pod["containers"]
    }
    assert len(seen) == 1
    assert "USER 9999:9999" in (TEMPLATES / "Dockerfile").read_text("utf-8")


def submit_options(tmp_path: Path) -> tuple[IngestOptions, Project]:
    """The options of the submission, and the project that it is given."""
    for name, text in MANIFESTS["ConfigMap", "headrace-project"]["data"].items():
        (tmp_path / name).write_text(text)
    arguments = SUBMIT["spec"]["template"]["spec"]["containers"][0]["command"]
    assert arguments[:2] == ["headrace", "ingest"]
    given = dict(ingest.make_context("ingest", list(arguments[2:]), ignore_unknown_options=False).params)
    project, _ = given.pop("project"), given.pop("as_json")
    assert str(project) == "/etc/headrace/project"
    options = parse(IngestOptions, given)
    options.check()
    return options, Project.load(tmp_path)


def test_the_submission_is_a_command_that_headrace_takes(tmp_path: Path) -> None:
    options, project = submit_options(tmp_path)
    spec, contract = project.source(options.source)
    assert (spec.dataset, contract.name) == ("customer_event", "customer_event")
    assert options.until is None and project.lake == "/data/lake"


def test_cluster_and_submission_agree_on_slots_workers_and_the_pool(tmp_path: Path) -> None:
    options, project = submit_options(tmp_path)
    spec = CLUSTER["spec"]
    slots = int(spec["flinkConfiguration"]["taskmanager.numberOfTaskSlots"])
    assert options.workers == slots * spec["taskManager"]["replicas"]
    assert options.python_workers_per_taskmanager == slots and options.beam_options == ()
    pool = spec["taskManager"]["podTemplate"]["spec"]["containers"][1]
    port = pool["ports"][0]["containerPort"]
    assert options.python_workers == f"external:localhost:{port}"
    assert f"--service_port={port}" in pool["args"] and f"('localhost', {port})" in pool["readinessProbe"]["exec"]["command"][-1]
    assert project.flink == f"{CLUSTER['metadata']['name']}-rest:8081"


def test_workers_find_the_client_config_where_the_submission_does(tmp_path: Path) -> None:
    options, _ = submit_options(tmp_path)
    assert options.client_config
    config = Path(options.client_config)
    pool = CLUSTER["spec"]["taskManager"]["podTemplate"]["spec"]["containers"][1]
    assert str(config.parent) in {mount["mountPath"] for mount in pool["volumeMounts"]}
    text = MANIFESTS["Secret", "headrace-kafka"]["stringData"][config.name]
    (tmp_path / config.name).write_text(text)
    KafkaConnection("localhost:1", str(tmp_path / config.name)).check()


def test_the_supervision_is_a_command_that_headrace_takes() -> None:
    arguments = SUPERVISE["spec"]["template"]["spec"]["containers"][0]["command"]
    assert arguments[:3] == ["headrace", "job", "supervise"]
    assert supervise.make_context("supervise", list(arguments[3:])).params["name"] == "$(RUN_ID)"
    assert (SUPERVISE["spec"]["replicas"], SUPERVISE["spec"]["strategy"]["type"]) == (1, "Recreate")


# Of networking.k8s.io/v1 what the policy uses; a field that is not named here is refused.
_SELECTOR = {"type": "object", "properties": {"matchLabels": {"type": "object", "additionalProperties": {"type": "string"}}}}
_RULE = {
    "type": "object",
    "required": ["from", "ports"],  # without one of them it would allow everybody, or every port
    "properties": {
        "from": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "minProperties": 1,
                "properties": {"podSelector": _SELECTOR, "namespaceSelector": _SELECTOR},
            },
        },
        "ports": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "required": ["port"], "properties": {"port": {"type": "integer"}}},
        },
    },
}
_POLICY = {
    "type": "object",
    "required": ["podSelector", "policyTypes", "ingress"],
    "properties": {
        "podSelector": _SELECTOR,
        "policyTypes": {"const": ["Ingress"]},
        "ingress": {"type": "array", "items": _RULE},
    },
}


def test_network_policies_fit_their_schema_and_are_for_the_right_pods() -> None:
    for policy in (POLICY, CLIENTS):
        assert policy["apiVersion"] == "networking.k8s.io/v1"
        assert problems(_POLICY, policy["spec"]) == []
    assert CLIENTS["spec"]["podSelector"] == POLICY["spec"]["ingress"][1]["from"][0]["podSelector"]
    assert CLIENTS["spec"]["ingress"] == []
    assert POLICY["spec"]["podSelector"]["matchLabels"] == {"app": CLUSTER["metadata"]["name"]}  # the operator labels pods so


def test_the_network_policy_opens_flinks_ports_and_none_of_beams() -> None:
    def opened(rule: Any) -> set[int]:
        return {each["port"] for each in rule["ports"]}

    configuration = CLUSTER["spec"]["flinkConfiguration"]
    fixed = {int(value) for key, value in configuration.items() if key.endswith(".port") and not key.startswith("metrics.reporter")}
    cluster, clients, prometheus = POLICY["spec"]["ingress"]
    assert cluster["from"] == [{"podSelector": POLICY["spec"]["podSelector"]}]
    assert opened(cluster) == {*fixed, 8081} and len(fixed) == 5
    assert opened(clients) == {8081}
    assert opened(prometheus) == {int(configuration["metrics.reporter.prom.port"])}
    pool = CLUSTER["spec"]["taskManager"]["podTemplate"]["spec"]["containers"][1]
    assert pool["ports"][0]["containerPort"] not in opened(cluster)
    assert pool["command"][-1] == "runners.flink.worker.pool"


def test_whoever_asks_flink_is_let_in() -> None:
    (label,) = POLICY["spec"]["ingress"][1]["from"][0]["podSelector"]["matchLabels"].items()
    for name in PIPELINES:
        job = yaml.safe_load(submission(PIPELINES[name], SUBMITTED[name], "headrace:0.1.0"))
        assert label in job["spec"]["template"]["metadata"]["labels"].items()
    assert label in SUPERVISE["spec"]["template"]["metadata"]["labels"].items()


def test_the_image_holds_what_the_manifests_run() -> None:
    image = (TEMPLATES / "Dockerfile").read_text("utf-8")
    packages = {line.split()[1] for line in image.splitlines() if line.startswith("COPY ") and line.split()[1] == line.split()[-1]}
    assert packages == {
        "contracts",
        "lake",
        "transforms",
        "runners",
        "pipelines",
        "operations",
        "cli",
        "devstack",
        "templates/build",
    }
    pool = CLUSTER["spec"]["taskManager"]["podTemplate"]["spec"]["containers"][1]
    assert "--container_executable=/opt/headrace/bin/flink-worker" in pool["args"]
    assert "WORKDIR /opt/headrace" in image and "runners.flink.worker.launcher bin" in image
