from __future__ import annotations

import json

from extproc.demo.provider import ScriptedProvider, json_answer
from tests.support.command_line import Run
from tests.support.ports import free_port


def test_its_status_is_1_where_something_is_wrong(run: Run) -> None:
    done = run("doctor", f"http://127.0.0.1:{free_port()}")
    lines = done.out.decode().splitlines()
    assert done.status == 1 and lines[1].startswith("wrong nothing answers") and lines[2].startswith("      -> ")
    assert b"\x1b" not in done.out


def test_as_json(run: Run) -> None:
    with ScriptedProvider(lambda request: json_answer({"data": []})) as there:
        done = run("doctor", f"http://127.0.0.1:{there.port}", "--no-requests", "--format", "json")
    found = json.loads(done.out)
    assert done.status == 0 and [one["grade"] for one in found] and set(found[0]) == {"grade", "what", "then"}
