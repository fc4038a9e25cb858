"""The version, which stands in pyproject.toml, wherever else it has to stand; and what a release is made of.

python deploy/release.py 0.2.0            writes it everywhere, and the changelog's heading with today's date
python deploy/release.py --check v0.2.0   status 1, and why, unless all is written so
python deploy/release.py --tags v0.2.0    the image's tags, a line each
python deploy/release.py --notes v0.2.0   what the changelog says of it

Needs nothing but Python. docs/releasing.md says when.
"""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
VERSION = re.compile(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?")
"""As Python's packages have it: 0.2.0, 0.2.0rc1."""
PLACES = {
    "pyproject.toml": r'(?m)^version = "(.+)"$',
    "Dockerfile": r"(?m)^ARG VERSION=(.+)$",
    "deploy/helm/extproc/Chart.yaml": r"(?m)^(?:v|appV)ersion: (.+)$",
    "deploy/kubernetes/README.md": r"YOUR-REGISTRY/extproc:(\S+)",
    "deploy/kubernetes/service/kustomization.yaml": r"/extproc\n +newTag: (\S+)",
    "deploy/kubernetes/socket/kustomization.yaml": r"/extproc\n +newTag: (\S+)",
}
"""Files, and how the version stands in each."""
UNRELEASED = "## Unreleased\n"


def found(root: Path = ROOT) -> dict[str, list[str]]:
    """The versions that each of PLACES has."""
    return {name: re.findall(pattern, (root / name).read_text("utf-8")) for name, pattern in PLACES.items()}


def write(version: str, root: Path = ROOT, today: str = "") -> None:
    """*version* everywhere, and a heading for what the changelog has under Unreleased."""
    for name, pattern in PLACES.items():
        text = (root / name).read_text("utf-8")
        parts = [match.span(1) for match in re.finditer(pattern, text)]
        for begin, end in reversed(parts):
            text = text[:begin] + version + text[end:]
        (root / name).write_text(text, "utf-8")
    changes = root / "CHANGELOG.md"
    heading = f"{UNRELEASED}\n## {version} - {today or datetime.date.today().isoformat()}\n"
    changes.write_text(changes.read_text("utf-8").replace(UNRELEASED, heading, 1), "utf-8")


def notes(version: str, root: Path = ROOT) -> str:
    """What the changelog says of *version*; empty if it has no such heading."""
    text = (root / "CHANGELOG.md").read_text("utf-8")
    part = re.search(rf"(?ms)^## {re.escape(version)}\b[^\n]*\n(.*?)(?=^## |\Z)", text)
    return part[1].strip() + "\n" if part else ""


def wrong(version: str, root: Path = ROOT) -> list[str]:
    """What keeps *version* from being released, each in a line."""
    problems = [
        f"{name} has {', '.join(versions) or 'no version'}, not {version}"
        for name, versions in found(root).items()
        if set(versions) != {version}
    ]
    return problems if notes(version, root) else [*problems, f"CHANGELOG.md has no heading ## {version}"]


def tags(version: str) -> list[str]:
    """The image's: one that stays, two that move; what is tried out moves none."""
    major, minor, _ = version.split(".", 2)
    return [version, f"{major}.{minor}", "latest"] if re.fullmatch(r"[\d.]+", version) else [version]


def main(arguments: list[str]) -> int:
    option, named = arguments if len(arguments) == 2 else ("", arguments[0] if len(arguments) == 1 else "")
    version = named.removeprefix("v")
    if option not in ("", "--check", "--tags", "--notes") or not VERSION.fullmatch(version):
        print(__doc__, file=sys.stderr)
        return 2
    if option == "":
        write(version)
        print(f"{version} is written: git commit -am 'Release {version}' && git tag -s v{version}")
    elif option == "--check":
        problems = wrong(version)
        print("\n".join(problems) or f"{version}: everything agrees")
        return 1 if problems else 0
    elif option == "--tags":
        print("\n".join(tags(version)))
    else:
        print(notes(version), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
