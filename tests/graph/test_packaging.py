"""What is installed: import names that nobody else provides, the files that code reads, and the layers of imports."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {"contracts", "lake", "quality", "transforms", "runners", "pipelines", "operations", "templates", "cli", "devstack"}


def test_no_other_distribution_provides_our_import_names() -> None:
    found = packages_distributions()
    for name in PACKAGES:
        assert set(found.get(name, ["headrace"])) == {"headrace"}


def test_the_wheel_holds_every_package_and_the_built_in_contracts(tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        str(_copy(tmp_path)),
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    modules = {
        str(p.relative_to(ROOT))
        for package in PACKAGES
        for p in (ROOT / package).rglob("*.py")
        if (p.parent / "__init__.py").exists()
    }
    assert modules <= set(names)
    assert {"contracts/datasets/customer_event.v1.yaml", "devstack/java/ServerFactory.java"} <= set(names)
    assert not any(name.startswith(("tests/", "benchmarks/", "examples/")) for name in names)


def _copy(folder: Path) -> Path:
    """The tracked sources, so that the build leaves nothing in the checkout."""
    target = folder / "source"
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in tracked.stdout.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((ROOT / name).read_bytes())
    return target


def test_nothing_tracked_holds_secrets_or_paths_of_a_machine() -> None:
    forbidden = ["/" + "work" + "/", "/" + "root" + "/", "BEGIN " + "PRIVATE KEY"]
    found = subprocess.run(
        ["git", "grep", "-nIF", *(part for word in forbidden for part in ("-e", word))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""


def test_pyproject_layers_hold() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
