"""``extproc check`` and ``extproc import``; what they find and make is tested in tests/check and tests/importers."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.command_line import Run

KEY = {"header": {"Authorization": "Bearer sk-1"}}
ROUTES = json.dumps({"uri": "/x", "plugins": {"ai-proxy": {"provider": "openai", "auth": KEY}}}).encode()


def test_import_reads_standard_input(run: Run) -> None:
    done = run("import", "apisix", stdin=ROUTES)
    assert done.status == 0 and b"static_resources" in done.out and "OPENAI_API_KEY" in done.err


def test_what_cannot_be_imported_is_one_line(run: Run) -> None:
    done = run("import", "apisix", stdin=b"[]")
    assert (done.status, done.out) == (2, b"") and done.err.startswith("extproc: standard input: ")


def test_check_takes_what_import_writes(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "envoy.yaml"
    file.write_bytes(run("import", "apisix", stdin=ROUTES).out)
    done = run("check", "--no-envoy", str(file))
    assert done.status == 0, done.out
