"""``python -m tests.coverage REPORT.json``: holds what the tests cover to its floors, and names the lowest files.

The tests of Envoy's side run the server in processes of their own, which are not measured: a line that only they reach
counts as not covered.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TOTAL = 90.0
"""Per cent of all lines and branches."""
FILE = 70.0
"""Per cent of each file."""
LOWER: Mapping[str, float] = {
    "extproc/__main__.py": 0.0,
    "extproc/demo/processes.py": 50.0,
    "extproc/demo/run.py": 40.0,
    "extproc/demo/tour.py": 15.0,
    "extproc/run/main.py": 55.0,
    "extproc/run/running.py": 50.0,
    "extproc/commands/run.py": 50.0,
    "extproc/server/serving.py": 30.0,
    "extproc/server/worker.py": 25.0,
    "extproc/server/workers.py": 50.0,
}
"""Files with another floor: what runs in a process of its own, under a test that looks at it from outside."""
SHOWN = 8


def problems(report: Mapping[str, Any]) -> list[str]:
    """What is below its floor."""
    total: float = report["totals"]["percent_covered"]
    found = [f"all files: {total:.1f} %, the floor is {TOTAL:.0f} %"] if total < TOTAL else []
    for path, share in sorted(_shares(report).items()):
        if share < (floor := LOWER.get(path, FILE)):
            found.append(f"{path}: {share:.1f} %, the floor is {floor:.0f} %")
    return found


def lowest(report: Mapping[str, Any]) -> list[str]:
    """The files that are covered least, a line each."""
    shares = sorted(_shares(report).items(), key=lambda item: item[1])
    return [f"{share:5.1f} %  {path}" for path, share in shares[:SHOWN]]


def _shares(report: Mapping[str, Any]) -> dict[str, float]:
    return {path: entry["summary"]["percent_covered"] for path, entry in report["files"].items()}


def main(path: str) -> int:
    report = json.loads(Path(path).read_text("utf-8"))
    print(f"covered: {report['totals']['percent_covered']:.1f} %; least:", *lowest(report), sep="\n  ")
    found = problems(report)
    print(*found, sep="\n", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
