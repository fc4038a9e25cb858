"""``python -m tests.changed``: the tests to run for what differs from the main branch, a path a line.

A module's tests stand at its own path: those of ``extproc/llm/fold.py`` in ``tests/llm/test_fold.py``. Where it has no
file of its own there, its folder's tests are meant. Those that need an Envoy are left to ``make test``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
ALWAYS = ("tests/test_architecture.py", "tests/test_setup.py", "tests/test_docs.py", "tests/test_requirements.py")
SLOW = ("tests/envoy", "tests/containers", "tests/real", "tests/soak", "tests/bench", "tests/examples")
"""What starts processes, or takes long."""


def concerned(path: str) -> str | None:
    """The tests that a change of *path* concerns; ``None`` if there are none, or none that are quick."""
    parts = Path(path).parts
    if not path.endswith(".py") or parts[0] not in ("extproc", "tests"):
        return None
    if parts[0] == "tests":
        found = Path(path) if parts[-1].startswith("test_") else Path(path).parent
    else:
        own = Path("tests", *parts[1:-1], f"test_{parts[-1]}")
        found = own if (ROOT / own).is_file() else own.parent
    text = found.as_posix()
    if text == "tests" or text.startswith(SLOW) or not (ROOT / found).exists():
        return None
    return text


def changed() -> list[str]:
    """Paths that differ from where this branch left the main one, or are new."""
    base = _git("merge-base", "HEAD", "origin/HEAD") or _git("merge-base", "HEAD", "main") or ["HEAD~1"]
    return [*_git("diff", "--name-only", base[0]), *_git("ls-files", "--others", "--exclude-standard")]


def selected(paths: Iterable[str]) -> list[str]:
    """The tests for *paths*, without those that another one of them holds already."""
    found = {test for test in map(concerned, paths) if test is not None} | set(ALWAYS)
    return sorted(
        test for test in found if not any(other != test and Path(other) in Path(test).parents for other in found)
    )


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.split() if done.returncode == 0 else []


if __name__ == "__main__":
    sys.stdout.writelines(f"{test}\n" for test in selected(changed()))
