"""The commands under "Try it" of the page about streaming run, and do what it says."""

from __future__ import annotations

import re
from pathlib import Path

from devstack.layout import Ports
from tests.support.pages import DOCS, blocks_of, run
from tests.support.readers import Clone
from tests.support.stack import free_ports, require_tools

PAGE = DOCS / "guides" / "streaming.md"
_RUN = "$(headrace job list --lake build/lake --json | python -c 'import json, sys; print(json.load(sys.stdin)[0][\"run_id\"])')"


def of_reader(ports: Ports, folder: Path) -> dict[str, str]:
    """A stack of the reader's own, where no other test's is."""
    named = {f"HEADRACE_STACK_PORT_{name.upper()}": str(port) for name, port in ports.numbers().items()}
    return {**named, "HEADRACE_STACK_HOME": str(folder / "stack"), "FLINK_REST": f"localhost:{ports.flink_rest}"}


def test_a_topic_that_ends_gives_the_tables_of_its_files_and_a_job_without_end_is_stopped(
    clone: Clone, environment: dict[str, str], tmp_path: Path
) -> None:
    require_tools()
    clone.renew()
    ports = free_ports()
    bounded, endless = (block.text for block in blocks_of(PAGE) if block.is_shell and "produce" in block.text)
    own = {**environment, **of_reader(ports, tmp_path), "PYTHONPATH": str(clone.folder)}
    stop = "headrace job stop RUN --lake build/lake"
    assert stop in endless
    # A reader looks at the job before; a savepoint in the seconds before all of its tasks run is refused.
    endless = endless.replace(stop, f"until {stop}; do sleep 2; done".replace("RUN", _RUN))
    script = (bounded + endless).replace("localhost:29092", f"localhost:{ports.kafka}")
    script = script.replace("webshop.produce", f"webshop.produce --bootstrap localhost:{ports.kafka}")
    files = "headrace ingest web --input examples/webshop/data/web --allow-damaged --lake build/files --project examples/webshop\n"
    ends = "trap 'kill %1 || true; headrace stack down > /dev/null' EXIT\n"
    output = run(ends + files + script, clone.folder, own, within_s=900)
    hashes = re.findall(r"validated\.customer_event: .* content_hash (\w+)", output)
    assert len(hashes) == 2 and len(set(hashes)) == 1
    assert "start again: headrace ingest web" in output
