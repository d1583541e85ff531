"""Lint: every problem that it can find is in the folder ``shop``, and its words are in ``findings.txt``.

``python -m tests.unit.contracts.lint.test_lint`` writes that file anew; read what changed in it.
"""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cli.contract import contract as commands
from contracts.errors import ConfigurationError
from contracts.lint.findings import RULES, Finding, Severity
from contracts.lint.project import lint
from contracts.lint.reports import as_json, github_lines, sarif, text_lines
from contracts.spec.odcs import load_contract
from contracts.spec.project import BUILT_IN_DATASETS, Project

HERE = Path(__file__).parent
SHOP, GOLDEN = HERE / "shop", HERE / "findings.txt"
WEBSHOP = Path(__file__).parents[4] / "examples" / "webshop"
TODAY = date(2026, 11, 2)


def found_in(folder: Path, *names: str, today: date = TODAY) -> list[Finding]:
    return lint(Project.load(folder), names, today)


def golden() -> str:
    """The findings as text, shipped contracts without the folder that they lie in."""
    lines = text_lines([f for f in found_in(SHOP) if f.path.is_relative_to(SHOP)], SHOP)
    return "\n".join(lines).replace(str(SHOP), "…").replace(str(BUILT_IN_DATASETS), "…") + "\n"


def test_every_problem_has_its_words() -> None:
    assert golden() == GOLDEN.read_text("utf-8")


def test_every_rule_has_a_problem() -> None:
    there = {line.rpartition("[")[2].rstrip("]") for line in GOLDEN.read_text("utf-8").splitlines()[:-1]}
    assert there == set(RULES)


def test_no_secret_and_no_id_is_told() -> None:
    text = GOLDEN.read_text("utf-8")
    assert "wk-0123" not in text and "ada@" not in text


def test_the_sample_and_what_ships_have_neither_errors_nor_warnings() -> None:
    assert [f for f in found_in(WEBSHOP) if f.severity is not Severity.NOTE] == []


def test_a_deprecation_runs_out_on_the_day_after_its_last() -> None:
    def told(day: date) -> list[str]:
        return [f.told for f in found_in(SHOP, "ticket", today=day) if f.code == "deprecation"]

    assert told(date(2026, 6, 30)) == []
    assert len(told(date(2026, 7, 1))) == 1
    assert len(told(date(2026, 8, 1))) == 2


def test_names_choose_files_and_a_name_of_nothing_is_told() -> None:
    assert {f.path.name for f in found_in(SHOP, "visits")} == {"visits.yaml"}
    assert {f.path.name for f in found_in(SHOP, "visits", "ticket")} == {"visits.yaml", "ticket.v1.yaml"}
    assert {f.path.name for f in found_in(SHOP, str(SHOP / "sources/wrong.yaml"))} == {"wrong.yaml"}
    with pytest.raises(ConfigurationError, match=r"no source, destination, dataset or recipe 'visitz'; there is: .*visits"):
        found_in(SHOP, "visitz")


def test_a_team_may_be_a_list_or_an_object_and_who_has_left_owns_nothing(tmp_path: Path) -> None:
    """ODCS changed it in v3.1, and keeps the list: bitol-io/open-data-contract-standard#199."""
    text = (SHOP / "datasets/visit.v1.yaml").read_text("utf-8")
    path = tmp_path / "visit.v1.yaml"
    path.write_text(text)
    assert (load_contract(path).owner, load_contract(path).contact) == ("web@example.com",) * 2
    document = yaml.safe_load(text)
    path.write_text(yaml.safe_dump(document | {"team": {"name": "Web", "members": document["team"]}}))
    assert (load_contract(path).owner, load_contract(path).contact) == ("Web", "web@example.com")
    path.write_text(yaml.safe_dump(document | {"support": [{"channel": "#web", "url": "https://chat.example.com/web"}]}))
    assert load_contract(path).contact == "https://chat.example.com/web"


ODD = Finding(Path("/repo/a: b, 100%/web 1.yaml"), 3, "columns: 50% of\r\nit; mend, it", "fit", Severity.ERROR)


def test_commands_of_github_are_escaped() -> None:
    """As its documentation says; agent-ecosystem/skill-validator#81 has what becomes of it else."""
    assert github_lines([ODD], Path("/repo")) == [
        "::error file=a%3A b%2C 100%25/web 1.yaml,line=3,title=fit::columns: 50%25 of%0D%0Ait; mend, it"
    ]


def test_sarif_has_relative_addresses_that_every_reader_takes() -> None:
    """A blank, a colon or an empty one is refused: jfrog/jfrog-cli#2303, github/codeql-action#1553 and #2456."""
    document = sarif([ODD, Finding(Path("/else/x.yaml"), 1, "told", "load", Severity.NOTE)], Path("/repo"))
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    first, second = run["results"]
    assert rules[first["ruleIndex"]] == first["ruleId"] == "fit"
    assert (first["level"], second["level"]) == ("error", "note")
    places = [result["locations"][0]["physicalLocation"] for result in (first, second)]
    assert [place["artifactLocation"]["uri"] for place in places] == ["a%3A%20b%2C%20100%25/web%201.yaml", "file:///else/x.yaml"]
    assert places[0]["region"] == {"startLine": 3}


def test_json_counts_what_it_holds() -> None:
    told = as_json([ODD], Path("/repo"))
    assert told["counts"] == {"error": 1, "warning": 0, "note": 0}
    assert told["findings"][0] == {
        "file": "a: b, 100%/web 1.yaml", "line": 3, "severity": "error", "code": "fit", "message": ODD.told,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["visits"], 1), (["Case"], 0), (["Case", "--strict"], 1), (["nobody"], 2), (["Case", "--format", "sarif"], 0)],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    done = CliRunner().invoke(commands, ["lint", *arguments, "--project", str(SHOP)])
    assert done.exit_code == code, done.output
    if "sarif" in arguments:
        assert json.loads(done.stdout)["runs"][0]["results"]


def test_a_project_without_files_has_nothing_to_tell(tmp_path: Path) -> None:
    shutil.copy(WEBSHOP / "headrace.yaml", tmp_path)
    assert found_in(tmp_path) == []


if __name__ == "__main__":
    GOLDEN.write_text(golden(), "utf-8")
