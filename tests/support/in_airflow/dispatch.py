"""Stands between Airflow and headrace: some words are for the script that ends as it is told, all else for headrace.

dispatch.py PYTHON_OF_HEADRACE words … ; ``fail-until FILE N`` ends with 3 until it was called N times. HEADRACE_TEST_CALLS names a
file that gets a line for each call.
"""

import os
import sys
from pathlib import Path

python, words = sys.argv[1], sys.argv[2:]
own = words[words.index("json") + 1 :]
if calls := os.environ.get("HEADRACE_TEST_CALLS"):
    with open(calls, "a") as file:
        file.write(" ".join(own) + "\n")
if own[0] == "fail-until":
    count = Path(own[1])
    with count.open("a") as file:
        file.write("x")
    sys.exit(0 if len(count.read_text()) >= int(own[2]) else 3)
if own[0] in ("exit", "sleep", "argv"):
    os.execv(sys.executable, [sys.executable, str(Path(__file__).with_name("fake_headrace.py")), *words])
os.execv(python, [python, "-m", "cli.main", *words])
