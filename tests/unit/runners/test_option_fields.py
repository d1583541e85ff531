"""Options are written as the arguments that give them: whatever a command line can give is read back as it was."""

from __future__ import annotations

import itertools
from datetime import UTC
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.deliver import deliver
from cli.ingest import ingest
from cli.reconcile import reconcile
from cli.replay import run as replay_run
from contracts.errors import ConfigurationError
from operations.reconcile.options import ReconcileOptions
from pipelines.deliver.options import DeliverOptions
from pipelines.ingest.options import IngestOptions
from pipelines.replay.options import ReplayOptions
from runners.option_fields import Described, Options, is_required, parse
from runners.option_readers import Reader, duration, flag, moment, or_word, share, size, whole

COMMANDS: dict[type[Options], click.Command] = {
    IngestOptions: ingest,
    DeliverOptions: deliver,
    ReplayOptions: replay_run,
    ReconcileOptions: reconcile,
}
OPTIONS = [
    pytest.param(options, name, id=f"{options.__name__}.{name}")
    for options in COMMANDS
    for name, (_, described) in options.described().items()
    if not described.positional
]
USUAL = (
    "true", "auto", "off", "now", "latest", "0s", "60s", "90 m", "1h", "1d", "512M", "1 GiB", "1000", "7", "0.25", "10%", "web-.*",
    "web/0:1-2", "2026-11-23T06:00:00Z", "2026-11-23t06:00:00.1234567+05:30", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z",
)  # fmt: skip
TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat())
GROUPS = {"", "Files", "Kafka", "Table", "Runner", "Direct", "Flink"}


def takes(reader: Reader[Any], text: str) -> bool:
    try:
        reader(text)
    except ValueError:
        return False
    return True


def texts(described: Described) -> st.SearchStrategy[str]:
    """What the option takes, as somebody may type it."""
    reader = described.reader
    if reader.choices:
        return st.sampled_from(reader.choices)
    if not reader.pattern:
        return st.from_regex(r"[a-zA-Z0-9/][^\x00]*", fullmatch=True) if described.positional else st.text()
    usual = [text for text in USUAL if takes(reader, text)]
    any_text = st.one_of(st.from_regex(reader.pattern, fullmatch=True), st.integers(0, 2_000).map(str), TIMES)
    return st.one_of(st.sampled_from(usual), any_text.map(lambda text: text if takes(reader, text) else usual[0]))


@st.composite
def values_of(draw: st.DrawFn, options: type[Options]) -> Options:
    """Options as a command line may give them: what is needed, and some of the rest."""
    told: dict[str, Any] = {}
    for name, (item, described) in options.described().items():
        if is_required(item) or draw(st.booleans()):
            one = texts(described)
            told[name] = (
                True if described.reader is flag
                else tuple(draw(st.lists(one, min_size=1, max_size=3))) if described.repeated
                else draw(one)
            )  # fmt: skip
    if hasattr(options, "beam_options"):
        told["beam_options"] = tuple(draw(st.lists(st.text(), max_size=3)))
    return parse(options, told)


def read_back(options: type[Options], arguments: list[str]) -> Options:
    """As ``headrace`` reads its arguments."""
    words = len(options.COMMAND)
    assert tuple(arguments[:words]) == options.COMMAND
    params = COMMANDS[options].make_context(options.COMMAND[-1], arguments[words:]).params
    return parse(options, params)


@pytest.mark.parametrize("options", COMMANDS, ids=lambda options: options.__name__)
@given(data=st.data())
def test_the_arguments_of_options_give_these_options(options: type[Options], data: st.DataObject) -> None:
    made = data.draw(values_of(options))
    assert read_back(options, made.arguments()) == made


@pytest.mark.parametrize(("options", "name"), OPTIONS)
@given(data=st.data())
def test_what_an_option_writes_it_reads(options: type[Options], name: str, data: st.DataObject) -> None:
    described = options.described()[name][1]
    value = described.reader(data.draw(texts(described)))
    assert described.reader(described.reader.write(value)) == value


@pytest.mark.parametrize(
    ("reader", "value", "text"),
    [
        (size, 512 << 20, "512M"),
        (size, 1000, "1000"),
        (duration, 90, "90s"),
        (duration, 7_200, "2h"),
        (share, 1e-7, "0.0000001"),
        (moment("now"), "now", "now"),
        (moment(), 1_795_413_600_000, "2026-11-23T06:00:00Z"),
        (moment(unit_us=1), 1_795_413_600_000_001, "2026-11-23T06:00:00.000001Z"),
        (or_word("off", duration), None, "off"),
        (or_word("off", duration), 60, "1m"),
        (whole(1, 9), 4, "4"),
    ],
)
def test_values_are_written_as_a_person_would(reader: Reader[Any], value: Any, text: str) -> None:
    assert (reader.write(value), reader(text)) == (text, value)


def test_what_was_not_given_is_not_written_and_options_of_beam_come_last() -> None:
    options = IngestOptions(source="web", input=("a b", "-c"), allow_damaged=True, window=3_600, beam_options=("--x=1",))
    assert options.arguments("--project=p") == [
        "ingest", "web", "--input=a b", "--input=-c", "--window=1h", "--allow-damaged", "--project=p", "--", "--x=1",
    ]  # fmt: skip


@pytest.mark.parametrize("options", COMMANDS, ids=lambda options: options.__name__)
def test_options_stand_under_known_headings_those_without_one_first(options: type[Options]) -> None:
    groups = [described.group for _, described in options.described().values()]
    assert set(groups) <= GROUPS and groups[0] == ""
    assert len(set(groups)) == sum(a != b for a, b in itertools.pairwise(groups)) + 1, "each heading once"


def test_help_shows_options_under_their_headings() -> None:
    shown = click.Context(ingest, info_name="ingest").get_help()
    places = [shown.index(part) for part in ("Options:", "--input", "Kafka:", "--start", "Flink:", "--python-workers")]
    assert places == sorted(places)


def test_options_that_do_not_fit_are_told_at_once_by_the_group_they_are_of() -> None:
    with pytest.raises(ConfigurationError) as raised:
        IngestOptions(source="web", input=("drop",), until="now", group="g", flink="h:1", checkpoint_every=5).check()
    assert str(raised.value).splitlines() == [
        "--until: for kafka:// input only",
        "--group: for kafka:// input only",
        "--flink: with --runner flink only",
        "--checkpoint-every: with --runner flink only",
    ]
