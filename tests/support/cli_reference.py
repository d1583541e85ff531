"""Makes docs/reference/cli.md from the commands themselves.

python -m tests.support.cli_reference > docs/reference/cli.md
"""

from __future__ import annotations

import inspect
import itertools
import re
import sys
import textwrap
from collections.abc import Iterator

import click

from cli.main import main

_HEAD = """\
# Command line

Made from the commands themselves by `python -m tests.support.cli_reference > docs/reference/cli.md`; a test holds it up to date.

Results go to stdout, progress and messages to stderr. With `--json` stdout is one JSON document. Run `source .venv/bin/activate`
first, or write `.venv/bin/headrace`. Where `--lake` is left out, the lake is the one that
[`headrace.yaml`](sources.md#headraceyaml) names; `--project` says which such file.

Codes of `--code` are listed in [dead letters](dead-letters.md#codes). Sizes are written `1048576`, `512M` or `1G` (of 1,024),
durations `90s`, `15m`, `1h` or `7d`, shares `10%` or `0.1`. All wrong options of `headrace ingest` are reported at once.

## Completion

Verbs, options and choices complete with Tab. Bash: put this into `~/.bashrc`. For zsh and fish write `zsh_source` and
`fish_source`.

```text
eval "$(_HEADRACE_COMPLETE=bash_source headrace)"
```

## Log lines

`headrace --log-level info --log-format json VERB …` sets what goes to stderr beside progress and messages; `HEADRACE_LOG_LEVEL` and
`HEADRACE_LOG_FORMAT` do so too, for workers as well. A line tells the run, the source and the stage that it belongs to. Of an
exception only its type is told.

## Exit codes

| code | meaning |
|---|---|
| 0 | Done. For `ingest`: the ledger adds up, rejects are within `--max-rejected`, no input was damaged or unreadable. |
| 1 | The data said no. All good output is written all the same. [What to do](../guides/run-and-rerun.md#exit-1-by-reason). |
| 2 | Wrong use: options, contract, source spec, project file or layout. `ingest` has published nothing. |
| 3 | A component is down, such as the catalog. Run the same command again. |
| 4 | A fault of ours. What was committed stays; send us the file that is named: it holds no data. |
| 130 | Stopped by Ctrl-C. What was committed stays; run the same command again to go on. |
"""
_SHOWN_CHOICES = 5
_WIDTH = 132
_DEFAULT = re.compile(r"\s*\[default: (.*)\]$")


def reference() -> str:
    """The page."""
    return "\n".join([_HEAD, *_command_sections(main, "headrace")])


def _command_sections(command: click.Command, path: str) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    if isinstance(command, click.Group):
        for name in sorted(command.list_commands(context)):
            found = command.get_command(context, name)
            assert found
            yield from _command_sections(found, f"{path} {name}")
        return
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    yield f"## {path}\n"
    yield inspect.cleandoc(command.help or "") + "\n"
    yield f"```text\n{usage}\n```\n"
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    for group, rows in itertools.groupby(sorted(options, key=_is_grouped), key=lambda option: getattr(option, "group", "")):
        if group:
            yield f"\n**{group}**\n"
        for option in rows:
            yield _option_item(option, context)
    yield ""
    if command.epilog:
        yield _epilog(command.epilog.replace("\b\n", "").strip())


def _is_grouped(option: click.Option) -> bool:
    return bool(getattr(option, "group", ""))


def _option_item(option: click.Option, context: click.Context) -> str:
    text = option.help or ""
    default = f"`{option.default}`" if option.show_default and option.default is not None else ""
    if shown := _DEFAULT.search(text):
        text, default = text[: shown.start()], f"`{shown[1]}`"
    if isinstance(option.type, click.Choice) and len(option.type.choices) > _SHOWN_CHOICES:
        value = " " + option.opts[0].removeprefix("--").upper()
    else:
        value = "" if option.is_flag else " " + option.make_metavar(context)
    told = f"- `{option.opts[0]}{value}`{f', default {default}' if default else ''}: {text}"
    return textwrap.fill(told, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _epilog(epilog: str) -> str:
    """Indented lines are commands."""
    out: list[str] = []
    for paragraph in epilog.split("\n\n"):
        title, *lines = paragraph.split("\n")
        if lines and all(line.startswith("  ") for line in lines):
            out.append(f"{title}\n\n```text\n" + "\n".join(line.strip() for line in lines) + "\n```\n")
        else:
            out.append(paragraph + "\n")
    return "\n".join(out)


if __name__ == "__main__":
    sys.stdout.write(reference())
