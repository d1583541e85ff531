"""Conventions for DAGs of a user's own, read from their source: no Airflow is needed, and nothing of them runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_DAG = {"DAG", "dag"}
_NEEDED = {
    "dag_id": "its name, as TEAM.WHAT.OF_WHAT",
    "catchup": "whether missed intervals run; the default of the installation decides else",
    "max_active_runs": "how many runs at once; else sixteen",
    "dagrun_timeout": "the longest time of a run; else it may hang for ever",
    "tags": "what it is found by",
    "doc_md": "what it is for, and its runbook",
}
_DEFAULTS = {
    "owner": "who answers for it",
    "retries": "how often a task is tried again",
    "execution_timeout": "the longest time of a task; else it may hang for ever",
}
_SLOW = {
    "requests",
    "httpx",
    "urllib.request",
    "boto3",
    "pandas",
    "pyarrow",
    "apache_beam",
    "sqlalchemy",
    "subprocess",
    "airflow.models",
}
_CLOCKS = {"now", "utcnow", "today"}
_READS = {"open", "read_text", "read_bytes", "urlopen", "run", "check_output", "Popen", "connect", "get", "post"}
_GET = "get"


@dataclass(frozen=True)
class Finding:
    """Something that a convention forbids. code: for suppressing it with ``# headrace: ignore[CODE]`` on its line."""

    path: str
    line: int
    code: str
    told: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.told} [{self.code}]"


def lint_dags(path: Path) -> list[Finding]:
    """What is wrong in a file, or in every Python file below a folder."""
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return [finding for file in files for finding in _lint_file(file)]


def _lint_file(path: Path) -> Iterator[Finding]:
    text = path.read_text("utf-8")
    lines = text.splitlines()
    try:
        tree = ast.parse(text, str(path))
    except SyntaxError as error:
        yield Finding(str(path), error.lineno or 1, "syntax", f"no Python: {error.msg}")
        return
    for line, code, told in sorted({*_dags(tree), *_top_level(tree)}):
        if f"# headrace: ignore[{code}]" not in (lines[line - 1] if line <= len(lines) else ""):
            yield Finding(str(path), line, code, told)


def _dags(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Every DAG that is made, in a call or a decorator."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or _called(node) not in _DAG:
            continue
        given = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
        if any(keyword.arg is None for keyword in node.keywords):
            continue  # **given: what is in it cannot be seen
        for name, told in _NEEDED.items():
            if name not in given and not (name == "dag_id" and node.args) and not (name == "dag_id" and _called(node) == "dag"):
                yield node.lineno, name.replace("_", "-"), f"the DAG does not say {name}: {told}"
        if "default_args" not in given:
            yield node.lineno, "default-args", f"the DAG has no default_args with {', '.join(_DEFAULTS)}"
        elif isinstance(given["default_args"], ast.Dict):
            keys = {key.value for key in given["default_args"].keys if isinstance(key, ast.Constant)}
            for name, told in _DEFAULTS.items():
                if name not in keys and None not in given["default_args"].keys:
                    yield node.lineno, name.replace("_", "-"), f"default_args does not say {name}: {told}"
        start = given.get("start_date")
        if start is not None and any(isinstance(each, ast.Call) and _called(each) in _CLOCKS for each in ast.walk(start)):
            yield node.lineno, "moving-start", "start_date is the time of parsing: intervals move; give a fixed day"


def _top_level(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """What runs each time Airflow reads the file."""
    for node in tree.body:
        for name, line in _imports(node):
            if name in _SLOW or any(name.startswith(f"{slow}.") for slow in _SLOW):
                yield line, "slow-import", f"imports {name} each time that Airflow reads the file; import it in the task"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom):
            continue
        for call in _calls_outside_functions(node):
            name = _called(call)
            if name == _GET and not _of(call, {"Variable", "requests", "httpx"}):
                continue
            if name in _READS:
                yield call.lineno, "top-level-work", f"calls {name} each time that Airflow reads the file; do it in a task"


def _calls_outside_functions(node: ast.AST) -> Iterator[ast.Call]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return
    if isinstance(node, ast.Call):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from _calls_outside_functions(child)


def _imports(node: ast.stmt) -> Iterator[tuple[str, int]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name, node.lineno) for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module, node.lineno


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _of(call: ast.Call, names: set[str]) -> bool:
    return isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) and call.func.value.id in names
