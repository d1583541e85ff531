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
from queue import SimpleQueue
from typing import BinaryIO

from contracts.errors import HeadraceError
from contracts.logs import LogOptions, configure

configure(LogOptions.of())  # before Beam is imported: its first words would set up Python's own handler

_GRACE_S = 10.0


def serve(given: BinaryIO, answers: BinaryIO) -> None:
    """Run each task that comes, and answer it, until the process that gives them ends this one.

    Args:
        given: pickled callables, each as the bytes that a pickle holds.
        answers: gets for each a pickle of None, of what it raised, or of the traceback of what is no error of ours.
    """
    from apache_beam.internal import pickler  # noqa: PLC0415 - after the log's form is set

    tasks: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(given, tasks), daemon=True).start()
    while True:
        pickle.dump(_outcome(pickler.loads(tasks.get())), answers)
        answers.flush()


def _receive(given: BinaryIO, tasks: SimpleQueue[bytes]) -> None:
    while True:
        try:
            tasks.put(pickle.load(given))
        except EOFError:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(_GRACE_S)
            os._exit(1)


def _outcome(task: Callable[[], None]) -> BaseException | str | None:
    try:
        task()
    except HeadraceError as error:
        return error
    except OSError as error:
        return error if type(error).__module__ == "builtins" else OSError(str(error))  # those of libraries may not be picklable
    except Exception:
        return traceback.format_exc()
    return None


def main() -> None:
    """Serve stdin and stdout; what is printed goes to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        importlib.import_module(sys.argv[1])
        serve(sys.stdin.buffer, answers)
    finally:
        if isinstance(sys.exc_info()[1], SystemExit):
            os._exit(1)  # Python would wait for the thread that reads stdin, and die of it


if __name__ == "__main__":
    main()
