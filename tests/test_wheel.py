"""The wheel, as `pip install .` makes it: all that is needed is in it, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(ROOT / "extproc", source / "extproc", symlinks=True, ignore=ignored)
    (source / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "envoy.yaml", source / "deploy" / "envoy.yaml")
    out = tmp_path_factory.mktemp("wheels")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(out),
        ".",
    ]
    clean = {name: value for name, value in os.environ.items() if name != "EXTPROC_COMPILE"}
    subprocess.run(command, cwd=source, env=clean, check=True, timeout=300)
    (made,) = out.iterdir()
    return made


def test_it_is_pure_and_bears_the_one_version(wheel: Path) -> None:
    assert wheel.name == f"extproc_llm-{PROJECT['version']}-py3-none-any.whl"


def test_it_holds_the_package_and_its_data_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = {name for name in opened.namelist() if ".dist-info/" not in name}
        reference = opened.read("extproc/reference/envoy.yaml")
    sources = {path.relative_to(ROOT) for path in (ROOT / "extproc").rglob("*") if path.is_file()}
    expected = {path.as_posix() for path in sources if "__pycache__" not in path.parts and path.suffix != ".so"}
    assert names == expected
    assert reference == (ROOT / "deploy" / "envoy.yaml").read_bytes(), "no link to a file that is not there"


def test_it_runs_by_itself(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(tmp_path)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    tried = [sys.executable, str(ROOT / "tests" / "installed.py")]
    done = subprocess.run(tried, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and "compiled: no" in done.stdout, done.stdout + done.stderr
