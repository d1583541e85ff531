"""Commands that texts advise name the lake and the project that were given."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli import hints
from cli.hints import as_given
from cli.main import main
from tests.support.shop import LINES, Shop


def told(text: str, *arguments: str) -> str:
    """The text, as a verb with these options would tell it."""

    @click.command()
    @click.option("--lake")
    @click.option("--project")
    @click.option("--flink")
    def verb(**_: str) -> None:
        click.echo(as_given(text), nl=False)

    return CliRunner().invoke(verb, list(arguments), env={"FLINK_REST": "x:1"}).stdout


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("headrace status", "headrace status ◦"),
        ("go on with headrace replay run x", "go on with headrace replay run ◦ x"),
        ("headrace replay of their windows brings the rows back", None),
        (
            "headrace lake repair, then headrace replay of the windows",
            "headrace lake repair ◦, then headrace replay of the windows",
        ),
        ("headrace lake why ID; headrace job list", "headrace lake why ◦ ID; headrace job list ◦"),
        ("headrace ingest web --lake=z", "headrace ingest --project 'b c' web --lake=z"),
        ("headrace ingest makes one, or give another --lake", "headrace ingest ◦ makes one, or give another --lake"),
        ("headrace stack up; headrace job-server; headrace lake x", None),
    ],
)
def test_places_stand_behind_the_command(text: str, shown: str | None) -> None:
    assert told(text, "--lake", "a", "--project", "b c") == (shown or text).replace("◦", "--lake a --project 'b c'")
    assert told(text) == text, "what was not given is found again the same way"


def test_flink_stands_behind_verbs_of_jobs_alone() -> None:
    assert told("headrace job stop r; headrace status", "--flink", "h:1") == "headrace job stop --flink h:1 r; headrace status"


def test_verbs_that_take_a_lake_or_a_project_are_all_known() -> None:
    context, found = click.Context(main), {}
    for name in main.list_commands(context):
        verb = main.get_command(context, name)
        assert verb is not None
        own = {"": verb}
        if isinstance(verb, click.Group):
            own = {n: command for n in verb.list_commands(context) if (command := verb.get_command(context, n))}
        for sub, command in own.items():
            found[f"headrace {name} {sub}".rstrip()] = {p.name for p in command.params} & {"lake", "project", "flink"}
    known = {f"headrace {verb} {sub}".rstrip() for verb, own in hints._VERBS.items() for sub in own or ("",)}
    elsewhere = {name for name in found if name.startswith("headrace template ")}  # no text advises them
    assert {name for name, options in found.items() if options} - elsewhere == known
    for name in known:
        own = found[name] if name.startswith("headrace job ") else found[name] - {"flink"}  # elsewhere it is where a new job runs
        assert set(hints._places(name)) == own, name


def test_errors_and_reports_carry_them(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    shop.ingest(LINES)
    lake, project = str(tmp_path / "shop/lake"), str(tmp_path / "shop")
    letters = CliRunner().invoke(main, ["deadletter", "show", "ffff", "--lake", lake, "--project", project])
    assert f"headrace deadletter list --lake {lake} --project {project}" in letters.stderr
    data = next((tmp_path / "shop/lake/warehouse/validated/customer_event/data").glob("*.parquet"))
    data.unlink()
    checked = CliRunner().invoke(main, ["lake", "check", "--lake", lake, "--project", project])
    assert f"headrace lake repair --lake {lake} --project {project}, then" in checked.stdout
