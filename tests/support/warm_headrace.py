"""The real ``headrace`` without its start-up: a process that has imported it forks once per command.

    python -m tests.support.warm_headrace SOCKET     # serve until stdin ends
    headrace VERB …                                   # with CLIENT as an executable ``headrace`` and HEADRACE_SOCKET set

Guides run some twenty commands, and each would import Beam for two seconds.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

ROOT = Path(__file__).parents[2]
_END_S = 120.0

CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect(os.environ["HEADRACE_SOCKET"])
    call = json.dumps({{"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}).encode()
    socket.send_fds(server, [len(call).to_bytes(4, "big") + call], [0, 1, 2])
    answer = server.recv(1)
sys.exit(answer[0] if answer else 70)
"""


@contextmanager
def warm(folder: Path) -> Iterator[dict[str, str]]:
    """An environment in which ``headrace`` is answered by a process of this module while the block runs. folder: for the client."""
    client = folder / "headrace"
    client.write_text(CLIENT.format(python=sys.executable))
    client.chmod(0o755)
    with tempfile.TemporaryDirectory() as short:  # names of sockets have at most 107 characters
        path = f"{short}/socket"
        found = {
            **os.environ,
            "PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "COLUMNS": "140",
            "HEADRACE_SOCKET": path,
        }
        command = [sys.executable, "-m", "tests.support.warm_headrace", path]
        with subprocess.Popen(command, cwd=ROOT, env=found, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            assert server.stdout and server.stdin
            assert server.stdout.readline() == b"ready\n"
            yield found
            server.stdin.close()
            server.wait(_END_S)


def serve(path: str) -> None:
    """Fork a child per call, until stdin ends."""
    from cli.main import main

    context = click.Context(main)
    for verb in main.list_commands(context):  # what takes long
        main.get_command(context, verb)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            call, _ = listener.accept()
            with call:
                if os.fork() == 0:
                    listener.close()
                    _answer(call)


def _answer(call: socket.socket) -> None:
    """In the child: run the command on the caller's stdin, stdout and stderr, and send its exit code."""
    code = 70
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        data, handles, _, _ = socket.recv_fds(call, 1 << 16, 3)
        wanted = json.loads(data[4:])
        assert len(data) == 4 + int.from_bytes(data[:4], "big")
        for number, handle in enumerate(handles):
            os.dup2(handle, number)
        os.chdir(wanted["folder"])
        os.environ.clear()
        os.environ.update(wanted["environment"])
        sys.argv = ["headrace", *wanted["arguments"]]
        code = _run()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        call.sendall(bytes([code]))
        os._exit(code)


def _run() -> int:
    from cli.main import run

    try:
        run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
