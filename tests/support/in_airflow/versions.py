"""Stands between Airflow and headrace as an installed version: a good one, or one whose jobs run and do nothing.

versions.py FOLDER PYTHON_OF_HEADRACE words …

``bad`` in FOLDER: jobs that are submitted have Python workers that never begin. ``slow``: as ``bad``, for jobs that end, of own.*.
"""

import os
import sys
from pathlib import Path

folder, python, words = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
own = words[words.index("json") + 1 :] if "json" in words else words
worker = folder / "worker-that-sleeps"
if "ingest" in words and (folder / "bad").exists():
    words += ["--python-workers", f"process:{worker}"]
os.environ["PYTHONPATH"] = os.environ["HEADRACE_CODE"]
os.execv(python, [python, "-m", "cli.main", *words])
