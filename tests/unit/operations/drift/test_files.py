"""Files that were built, against those that are built now."""

import pytest

from operations.drift.files import compare_files

JOB = "kind: Job\nmetadata:\n  name: a\nspec:\n  n: 1\n"
SECRET = "kind: Secret\nmetadata: {name: s}\nstringData: {password: REPLACE}\n"


def told(name: str, deployed: str, wanted: str) -> list[tuple[str, str]]:
    return [(one.deployed, one.repository) for one in compare_files("x", {name: deployed}, {name: wanted}, "build")]


@pytest.mark.parametrize(
    ("name", "deployed", "wanted"),
    [
        ("a.yaml", f"# mine\n{JOB}", JOB),
        ("a.yaml", f"---\n{JOB}---\n", JOB),
        ("a.yaml", "spec: {n: 1}\nmetadata: {name: a}\nkind: Job\n", JOB),
        ("a.yaml", f"{SECRET}---\n{JOB}", f"{JOB}---\n{SECRET}"),  # kubernetes-sigs/kustomize#4292
        ("a.json", '{"b": [], "a": 1}', '{"a": 1}'),
        ("a.sh", "set -eu  \r\n\nrun\n", "set -eu\nrun\n"),
        ("a.yaml", JOB.replace("n: 1", "n: 1\n  more:"), JOB),  # argoproj/argo-cd#6063
    ],
)
def test_what_says_the_same_is_no_difference(name: str, deployed: str, wanted: str) -> None:
    assert told(name, deployed, wanted) == []


def test_what_a_secret_holds_is_neither_compared_nor_shown() -> None:
    """databus23/helm-diff#128, roboll/helmfile#269."""
    filled = SECRET.replace("REPLACE", "hunter2")
    assert told("secrets.yaml", filled, SECRET) == []
    found = told("secrets.yaml", filled + "---\n" + SECRET.replace("name: s", "name: t"), SECRET)
    assert found and "hunter2" not in str(found) and "REPLACE" not in str(found)


def test_what_differs_is_told_by_path() -> None:
    assert told("a.yaml", JOB.replace("n: 1", "n: 2"), JOB) == [("Job/a.spec.n: 2", "Job/a.spec.n: 1")]
    assert told("run.sh", "set -eu\nrun 0.0.9\n", "set -eu\nrun 0.1.0\n") == [("line 2: run 0.0.9", "line 2: run 0.1.0")]


@pytest.mark.parametrize(("name", "text"), [("a.json", "{"), ("a.yaml", "a: [1"), ("a.yaml", "- 1\n"), ("a.yaml", "\x00")])
def test_a_file_that_cannot_be_read_is_a_difference(name: str, text: str) -> None:
    assert told(name, text, "{}" if name == "a.json" else JOB) == [("cannot be read", "as it is built")]


def test_a_manifest_that_was_left_out_is_none() -> None:
    assert list(compare_files("x", {}, {"cluster.yaml": JOB}, "build")) == []
