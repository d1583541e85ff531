"""Stands between Airflow and headrace as an installed version: a good one, or one whose jobs run and do nothing.

versions.py FOLDER PYTHON_OF_HEADRACE words … ; with a file ``bad`` in FOLDER, Python workers of its jobs never begin.
"""

import os
import sys
from pathlib import Path

folder, python, words = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
if "ingest" in words and (folder / "bad").exists():
    words += ["--python-workers", f"process:{folder / 'worker-that-sleeps'}"]
os.environ["PYTHONPATH"] = os.environ["HEADRACE_CODE"]
os.execv(python, [python, "-m", "cli.main", *words])
