"""``extproc capture``, ``explain``, ``replay`` and ``diff``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extproc.captures.files import made_of
from extproc.commands.captured import WHY
from extproc.llm.losses import Action
from extproc.telemetry.outcome import Began, Ending, Outcome
from extproc.telemetry.ring import Ring
from tests.captures.exchanges import ASKED, exchange, kept_of
from tests.commands.admin_port import admin_port
from tests.support.command_line import Run
from tests.support.exchanges import CHAT, MESSAGES
from tests.support.ports import free_port

ANSWER = b'{"id": "c1", "choices": [{"message": {"content": "yes, brief"}, "finish_reason": "stop"}], "model": "m"}'
WHOLE = {**ASKED, "stream": False}


def test_each_way_that_a_member_can_go_has_a_reason() -> None:
    assert {action.value for action in Action} <= set(WHY) and {"replaced", "unused", "added"} <= set(WHY)


def ring_of(count: int) -> Ring:
    ring = Ring(100, 10**6, process=7)
    for number in range(1, count + 1):
        end(ring, number)
    return ring


def end(ring: Ring, number: int) -> None:
    kept, losses = kept_of(MESSAGES, CHAT, WHOLE, [ANSWER])
    outcome = Outcome(
        "translator", Ending.COMPLETE, client=MESSAGES, upstream=CHAT, status=200, losses=losses, payloads=kept
    )
    ring.ended(Began("translator", 1.0, "id-1" if number < 2 else f"id-{number}", "POST", "/v1/messages"), outcome)


def written(path: Path, *exchanges: dict[str, Any], readable: bool = True) -> str:
    path.write_bytes(made_of(exchanges, "0", readable=readable))
    return str(path)


def test_from_the_ring_to_what_became_of_it(run: Run, tmp_path: Path) -> None:
    file = str(tmp_path / "bug.json")
    with admin_port(ring_of(3)) as (address, _):
        ran = run("capture", address, "--request-id", "id-1", "--output", file)
    assert ran.status == 0 and ran.err.startswith("id-1: anthropic_messages > openai_chat") and not ran.out
    text = Path(file).read_text()
    assert "Be brief." not in text and "yes, brief" not in text and json.loads(text)["redacted"] is True
    said = run("explain", file)
    assert said.status == 0
    lines = {line.split()[0]: line for line in said.out.decode().splitlines()[2:]}
    assert "dropped" in lines["top_k"] and " 40" in lines["top_k"] and lines["top_k"].endswith(WHY["dropped"])
    assert "max_completion_tokens" in lines["max_tokens"] and '"xx xxxxx."' in lines["system[0].text"]
    again = run("replay", file)
    assert again.status == 0 and again.out.decode().count(": the same") == 2


def test_the_last_ones_and_what_was_said(run: Run) -> None:
    with admin_port(ring_of(3)) as (address, _):
        ran = run("capture", address, "--last", "2", "--readable")
    made = json.loads(ran.out)
    assert [each["request_id"] for each in made["exchanges"]] == ["id-2", "id-3"] and b"yes, brief" in ran.out


def test_the_next_ones_as_they_end(run: Run) -> None:
    ring = ring_of(1)
    happening: list[Callable[[], None]] = [lambda: end(ring, 8), lambda: end(ring, 9), lambda: end(ring, 10)]
    with admin_port(ring) as (address, shown):
        shown.then = lambda: happening.pop(0)() if happening else None
        ran = run("capture", address, "--next", "2")
    assert [each["request_id"] for each in json.loads(ran.out)["exchanges"]] == ["id-8", "id-9"]


def test_what_cannot_be_captured(run: Run, tmp_path: Path) -> None:
    with admin_port(ring_of(1)) as (address, _):
        assert "no such exchange" in run("capture", address, "--request-id", "other").err
        assert run("capture", address, "--output", str(tmp_path / "no" / "where")).status == 2
    assert run("capture", f"127.0.0.1:{free_port()}").status == 1
    bare = Ring(1, 1, process=7)
    bare.ended(Began("translator", 1.0, "id-1", "POST", "/v1/messages"), Outcome("translator", Ending.COMPLETE))
    with admin_port(bare) as (address, _):
        ran = run("capture", address, "--output", str(tmp_path / "bare"))
    assert ran.status == 0 and "without bodies" in ran.err
    for command in ("explain", "replay"):
        told = run(command, str(tmp_path / "bare"))
        assert told.status == 1 and b"payloads: true" in told.out


def test_other_code_is_seen(run: Run, tmp_path: Path) -> None:
    told = exchange(MESSAGES, CHAT, WHOLE, [ANSWER])
    told["payloads"]["upstream"]["request"]["body"]["max_completion_tokens"] = 7
    told["course"]["route"]["policies"] = [{"moderation": {}}]
    ran = run("replay", written(tmp_path / "a", told))
    out = ran.out.decode()
    assert ran.status == 1 and '+ "max_completion_tokens": 1024' in out and "the client's answer: the same" in out
    assert "the policy moderation had a part in it" in out


def test_two_captures(run: Run, tmp_path: Path) -> None:
    one, other = exchange(MESSAGES, CHAT, WHOLE, [ANSWER]), exchange(MESSAGES, CHAT, {**WHOLE, "top_k": 41}, [ANSWER])
    first, second = written(tmp_path / "a", one), written(tmp_path / "b", other)
    assert run("diff", first, first).status == 0
    ran = run("diff", first, second)
    assert ran.status == 1 and b'+ "top_k": 41' in ran.out and b"the upstream's request" not in ran.out
    longer = run("diff", first, written(tmp_path / "c", one, other))
    assert longer.status == 1 and b"holds 1 exchanges" in longer.out


@pytest.mark.parametrize("command", ["explain", "replay"])
def test_what_is_no_capture(run: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "x").write_text("{}")
    assert run(command, str(tmp_path / "x")).status == run(command, str(tmp_path / "none")).status == 2
    assert "it is no capture" in run(command, "-", stdin=b"[]").err


ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b2J\u202e"


def strange(value: Any) -> Any:
    """*value* with what moves a terminal in every name and every text of what a client said."""
    if isinstance(value, dict):
        return {
            name if name in ("model", "messages", "tools") else name + ESCAPES: strange(v) for name, v in value.items()
        }
    if isinstance(value, list):
        return [strange(each) for each in value]
    return value + ESCAPES if isinstance(value, str) else value


def of_a_stranger(asked: dict[str, Any], **known: Any) -> dict[str, Any]:
    """An exchange as somebody may have written it."""
    told = exchange(MESSAGES, CHAT, WHOLE, [ANSWER])
    told |= {
        "request_id": f"id{ESCAPES}",
        "model_asked": f"m{ESCAPES}",
        "route": f"r{ESCAPES}",
        "error": ESCAPES,
        **known,
    }
    told["payloads"]["client"]["request"]["body"] |= asked
    told["payloads"]["client"]["response"]["body"] |= strange({"a": {"b": ["c"]}})
    told["course"]["route"]["policies"] = [{f"own{ESCAPES}": {}}]
    return told


def test_a_strangers_capture_writes_to_no_terminal(run: Run, tmp_path: Path) -> None:
    """Names and texts in it are whatever somebody sent."""
    tool = {"name": f"f{ESCAPES}", "input_schema": {"type": "object", "properties": {ESCAPES: {}}}}
    one = written(tmp_path / "a", of_a_stranger({ESCAPES: 1, "tools": [tool], "metadata": strange({"user": "x"})}))
    other = written(tmp_path / "b", of_a_stranger({"metadata": strange({"user": "y"})}, model_sent=f"n{ESCAPES}"))
    broken = written(tmp_path / "c", of_a_stranger({"messages": [{"role": ESCAPES, "content": 7}]}))
    for words in (("explain", one), ("replay", one), ("diff", one, other), ("explain", broken), ("replay", broken)):
        ran = run(*words)
        shown = ran.out.decode() + ran.err
        assert "m?]0;owned??[2J?2J?" in shown or words[0] == "diff", shown
        assert all(sign.isprintable() or sign == "\n" for sign in shown), words
    differs = run("diff", one, other).out.decode()
    assert "id?]0;owned" in differs and '"user' in differs


def test_what_an_admin_port_says_neither(run: Run, tmp_path: Path) -> None:
    ring = Ring(100, 10**6, process=7)
    kept, _ = kept_of(MESSAGES, CHAT, WHOLE, [ANSWER])
    told = Outcome(
        "translator", Ending.COMPLETE, client=MESSAGES, upstream=CHAT, model_asked=f"m{ESCAPES}", payloads=kept
    )
    ring.ended(Began("translator", 1.0, f"id{ESCAPES}", "POST", "/v1/messages"), told)
    with admin_port(ring) as (address, _):
        ran = run("capture", address, "--output", str(tmp_path / "x"))
    assert ran.status == 0 and "m?]0;owned" in ran.err
    assert all(sign.isprintable() or sign == "\n" for sign in ran.err)
