"""What the models of files bring is imported where a file is read, and nowhere before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_what_reads_no_file_brings_no_pydantic_model(tmp_path: Path) -> None:
    """``--help`` and ``status`` without a project file read none."""
    code = (
        "import sys, contracts.spec.project, contracts.spec.source, contracts.spec.suppressions; "
        "contracts.spec.project.Project.load(); "
        "print([name for name in sys.modules if name.startswith(('contracts.spec.files', 'pydantic.main', 'open_data'))])"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=env)
    assert done.stdout.strip() == "[]"
