"""The files that a launch needs, by name: what ``headrace template build`` writes."""

from __future__ import annotations

from collections.abc import Mapping

from templates.build.catalog import Template
from templates.build.flex import Target, as_text, container_spec_of, deploy_script, metadata_of, run_script
from templates.build.kubernetes import manifest, submission, with_image

MANIFESTS = ("cluster.yaml", "network-policy.yaml", "project.yaml", "secrets.yaml", "storage.yaml")  # of the cluster
IMAGE_SPEC, DEPLOY = "image-spec.json", "deploy.sh"


def submit_name(template: Template) -> str:
    """The manifest that submits a job."""
    return f"submit-{template.name}.yaml"


def dataflow_files(template: Template, target: Target) -> dict[str, str]:
    """Of a Flex Template."""
    return {
        IMAGE_SPEC: as_text(container_spec_of(template, target.image)),
        "metadata.json": as_text(metadata_of(template)),
        DEPLOY: deploy_script(template, target),
        "run.sh": run_script(template, target),
    }


def kubernetes_files(template: Template, image: str, given: Mapping[str, str]) -> dict[str, str]:
    """Of a job on Kubernetes, with the manifests of its cluster.

    Raises:
        ConfigurationError: parameters are wrong, or this is no clone of the code.
    """
    files = {submit_name(template): submission(template, given, image)}
    return files | {each: with_image(manifest(each), image) for each in MANIFESTS}
