"""``extproc serve --workers N`` as a process, and its workers as processes of their own."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from extproc.demo.processes import Process

from .upstream import eventually


class Workers(Process):
    """*count* workers on Unix sockets in *folder*, or on *listen*."""

    def __init__(
        self,
        folder: Path,
        count: int = 2,
        *arguments: str,
        listen: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__("workers", folder)
        self.count = count
        self.listen = listen or f"unix:{folder}/x.sock"
        self.arguments = arguments
        self.environ = environ or {}
        self.all: list[int] = []
        """Every worker's process that was seen."""

    def command(self) -> Sequence[str]:
        own = ["--listen", self.listen, "--workers", str(self.count)]
        return [sys.executable, "-m", "extproc", "serve", *own, *self.arguments]

    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "EXTPROC_SECRETS": "*", **self.environ}

    def ready(self) -> bool:
        return len(self.addresses) == self.count

    @property
    def addresses(self) -> list[str]:
        return re.findall(r"^extproc listens on (\S+)$", self.text, re.MULTILINE)

    @property
    def admin(self) -> str:
        found: list[str] = re.findall(r"^extproc admin on (\S+)$", self.text, re.MULTILINE)
        return found[0]

    @property
    def text(self) -> str:
        return self.log.read_text()

    def pids(self) -> list[int]:
        """The workers' processes that run now, in the order of their addresses."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        found = {int(child): _listens(child) for child in children if alive(int(child))}
        self.all += [pid for pid in found if pid not in self.all]
        return sorted(found, key=lambda pid: self.addresses.index(found[pid]) if found[pid] in self.addresses else 99)

    def others(self, before: Sequence[int]) -> bool:
        """Whether all workers run, and none of those from *before*."""
        return len(now := self.pids()) == self.count and not set(now) & set(before)

    def gone(self, within: float = 5.0) -> bool:
        """Whether no worker's process that was ever seen runs."""
        return eventually(lambda: not any(map(alive, self.all)), within)


def _listens(pid: str) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return ""
    return next((word.removeprefix("--listen=") for word in words if word.startswith("--listen=")), "")


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
