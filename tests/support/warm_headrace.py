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
import sys

import click

CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect(os.environ["HEADRACE_SOCKET"])
    call = json.dumps({{"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}).encode()
    socket.send_fds(server, [len(call).to_bytes(4, "big") + call], [0, 1, 2])
    answer = server.recv(1)
sys.exit(answer[0] if answer else 70)
"""


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
