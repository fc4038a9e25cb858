"""One target, guided by coverage: ``python -m tests.fuzz.guided NAME SECONDS FOLDER``, in a process that libFuzzer
ends. Needs atheris."""

from __future__ import annotations

import hashlib
import importlib
import logging
import sys
from pathlib import Path
from typing import Any


def main(name: str, seconds: str, folder: str) -> None:
    atheris: Any = importlib.import_module("atheris")
    # Ours alone: to watch all that is imported takes minutes.
    with atheris.instrument_imports(include=["extproc"]):
        targets = importlib.import_module("tests.fuzz.targets")
    target, bugs = targets.TARGETS[name], targets.Bugs()
    logging.getLogger("extproc").addHandler(bugs)

    def checked(data: bytes) -> None:
        target(data)
        if bugs.seen:
            raise RuntimeError(bugs.seen.pop())

    for data in targets.seeds():
        (Path(folder) / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    options = ["-timeout=20", "-max_len=65536", "-print_final_stats=1", "-verbosity=0"]
    options += [f"-max_total_time={float(seconds):.0f}", f"-artifact_prefix={targets.CORPUS}/"]
    atheris.Setup([sys.argv[0], *options, folder], checked)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
