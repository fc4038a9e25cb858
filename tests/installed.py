"""What an installed package must be able to do, wherever it is: ``python tests/installed.py [--compiled]``, in an
environment that has it, from whatever folder. Needs nothing but the package and its dependencies.

The wheels are tried with it: the pure one by tests/test_wheel.py, the compiled ones by ``make test-compiled`` and, for
each Python and machine, by the release's workflow.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path

VERSION = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))["project"]["version"]
REQUEST = '{"model": "gpt-5.4-mini", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}'


def said(*words: str, given: str = "") -> str:
    """What ``extproc`` prints, run in an empty folder, so that no checkout is what is tried."""
    environ = {**os.environ, "PYTHONSAFEPATH": "1", "OPENAI_API_KEY": "k"}
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            [sys.executable, "-m", "extproc", *words], input=given, cwd=empty, env=environ, capture_output=True,
            text=True, timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 0, f"extproc {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def main(arguments: list[str]) -> None:
    compiled = "yes" if "--compiled" in arguments else "no"
    assert importlib.metadata.version("extproc-llm") == VERSION == said("version", "--short").strip()
    about = dict(line.split(None, 1) for line in said("version").splitlines())
    assert about["compiled"] == compiled, f"compiled: {about['compiled']}"
    translated = said(
        "translate", "request", "--client", "anthropic_messages", "--upstream", "openai_chat", given=REQUEST
    )
    assert '"max_completion_tokens":9' in translated.replace(" ", ""), translated
    assert "api.openai.com" in said("run", "--no-probe", "--print-envoy")
    assert "claude" in said("models") and "anthropic_messages" in said("dialects")
    print(
        f"extproc {VERSION}, compiled: {compiled}, Python {sys.version.split()[0]}, {sysconfig.get_platform()}: works"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
