"""The registry of the commands."""

from __future__ import annotations

import subprocess
import sys

from extproc import commands


def test_each_name_is_that_of_its_command() -> None:
    assert [command.name for command in commands.every()] == list(commands.NAMES)


def test_health_loads_nothing_of_a_translation() -> None:
    """The image asks every ten seconds."""
    script = (
        "import sys\nfrom extproc.cli import main\nstatus = main(['health', '127.0.0.1:1'])\n"
        "print(status, *sorted({name.partition('.')[0] for name in sys.modules}))\n"
        "print(*sorted({name.split('.')[1] for name in sys.modules if name.startswith('extproc.')}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    _, libraries, parts = done.stdout.splitlines()
    assert libraries.startswith("1 ") and not {"pydantic", "grpc", "asyncio", "http", "email"} & set(libraries.split())
    assert parts.split() == ["cli", "commands", "envoy_api", "frozen", "server", "settings"]
