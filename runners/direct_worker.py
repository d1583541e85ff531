"""A process that runs tasks for another one (``DirectWorkers``): pickled tasks on stdin, pickled answers on stdout, one by one.

    python -m runners.direct_worker MODULE      # imports this while there is no task yet

It logs as the process that started it, leaves Ctrl-C to that one, and ends with it: when stdin ends, whatever it does then.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import BinaryIO

from contracts.logs import LogOptions, configure

configure(LogOptions.of())  # before Beam is imported: its first words would set up Python's own handler

_GRACE_S = 10.0


def serve(given: BinaryIO, answers: BinaryIO, imports: str) -> None:
    """Run each task that comes, and answer it, until the process that gives them ends this one.

    Args:
        given: pickled callables, each as the bytes that a pickle holds.
        answers: gets for each the bytes of a pickle, as a pickle: of None, of what it raised, with the traceback as a note, or of
            the traceback where that cannot be pickled.
        imports: a module that tasks need; where it cannot be imported, every answer says so.
    """
    tasks: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(given, tasks), daemon=True).start()
    missing = _raised_by(partial(importlib.import_module, imports))
    while True:
        task = tasks.get()
        pickle.dump(missing or _raised_by(partial(_run, task)), answers)
        answers.flush()


def _run(task: bytes) -> None:
    from apache_beam.internal import pickler  # noqa: PLC0415 - after the log's form is set

    pickler.loads(task)()


def _receive(given: BinaryIO, tasks: SimpleQueue[bytes]) -> None:
    try:
        while True:
            tasks.put(pickle.load(given))
    except (EOFError, pickle.UnpicklingError):  # between two tasks, or within one
        pass
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE_S)
        os._exit(1)


def _raised_by(call: Callable[[], object]) -> bytes | None:
    """A pickle of what it raises, of the same type and with its traceback, or of the traceback; None where it raises nothing."""
    try:
        call()
    except Exception as error:
        told = traceback.format_exc()
        error.add_note(told)
        with suppress(Exception):  # those of libraries may not be picklable
            pickled = pickle.dumps(error)
            if type(pickle.loads(pickled)) is type(error):
                return pickled
        return pickle.dumps(told)
    return None


def _end(_number: int, _frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # whoever ends the group and whoever ends this one
    sys.exit(1)


def main() -> None:
    """Serve stdin and stdout; what is printed goes to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        serve(sys.stdin.buffer, answers, sys.argv[1])
    finally:
        os._exit(1)  # Python would wait for the thread that reads stdin, and die of it


if __name__ == "__main__":
    main()
