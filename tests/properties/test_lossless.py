"""A request that stays in its own dialect: nothing of it is lost, and who changes one thing changes that thing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from extproc import dialects
from extproc.dialects.base import ClientCall, ModelInPath, Upstream
from extproc.dialects.shared.relay import edited
from extproc.llm.failures import ProtocolError, Unsupported
from extproc.llm.losses import LossReport
from extproc.llm.request import Message, Request, Text, ToolResult

from .conversations import requests

GOLDEN = Path(__file__).parent.parent / "golden"
FILES = {path.parent.name: path for path in sorted(GOLDEN.glob("*/requests.jsonl"))}
NEW = "\u00e9 new <text>"
Json = Any


def reads_requests(name: str) -> bool:
    try:
        dialects.get(name).parse_request(ClientCall("POST", dialects.get(name).paths[0], [], b"{}"), LossReport())
    except Unsupported:
        return False
    except ProtocolError:
        return True
    return True


READERS = {name for name, each in dialects.REGISTRY.items() if each.converses and reads_requests(name)}
GOLDENS = [
    pytest.param(name, line, id=f"{name}-{i}")
    for name, path in FILES.items()
    if name in READERS
    for i, line in enumerate(path.read_bytes().splitlines())
]


def call_of(name: str, body: bytes) -> ClientCall:
    dialect = dialects.get(name)
    stem = "/models/m" if isinstance(dialect, ModelInPath) else ""
    return ClientCall("POST", stem + dialect.paths[0], [], body)


def parsed(name: str, body: bytes) -> tuple[ClientCall, Request]:
    call = call_of(name, body)
    return call, dialects.get(name).parse_request(call, LossReport())


def test_every_dialect_that_reads_requests_has_some_here() -> None:
    assert set(FILES) >= READERS


@pytest.mark.parametrize(("name", "body"), GOLDENS)
@pytest.mark.rows("A4")
def test_what_a_dialect_has_read_it_writes_again(name: str, body: bytes) -> None:
    _, request = parsed(name, body)
    losses = LossReport()
    # Whose encrypted reasoning it is stands in the host's name: that of the API's maker.
    provider = "openai" if name == "openai_responses" else "p"
    sent = dialects.get(name).emit_request(request, Upstream(provider, "/x/{model}", model="m"), losses)
    assert sent.members == json.loads(body) and list(losses) == []
    assert msgspec.json.decode(msgspec.json.encode(sent.members)) == json.loads(body)


UNKNOWN = {"x_new": {"deep": [1.5, {"null": None}]}}


def grown(value: Json) -> Iterator[Json]:
    """*value* with a member that nobody knows, in each of its objects in turn."""
    if isinstance(value, dict):
        yield value | UNKNOWN
        for name, each in value.items():
            yield from (value | {name: other} for other in grown(each))
    elif isinstance(value, list):
        for i, each in enumerate(value):
            yield from ([*value[:i], other, *value[i + 1 :]] for other in grown(each))


@pytest.mark.parametrize(("name", "body"), GOLDENS)
@pytest.mark.rows("A4")
def test_what_nobody_knows_is_written_again_at_any_depth(name: str, body: bytes) -> None:
    for other in grown(json.loads(body)):
        _, request = parsed(name, json.dumps(other).encode())
        provider = "openai" if name == "openai_responses" else "p"
        losses = LossReport()
        sent = dialects.get(name).emit_request(request, Upstream(provider, "/x/{model}", model="m"), losses)
        assert sent.members == other and list(losses) == []


# ---- one thing changed


def pieces(request: Request) -> Iterator[tuple[int, Message]]:
    yield from enumerate([*request.system, *request.messages])


def with_text(said: Any, n: int) -> Any:
    """What was *said*, its text number *n* another; ``None`` if there are not so many."""
    if isinstance(said, str):
        return NEW if n == 0 and said else None
    for i, block in enumerate(said):
        inner = texts_in(block)
        if n < inner:
            new = (
                replace(block, text=NEW)
                if isinstance(block, Text)
                else replace(block, content=with_text(block.content, n))
            )
            return [*said[:i], new, *said[i + 1 :]]
        n -= inner
    return None


def texts_in(block: Any) -> int:
    if isinstance(block, Text):
        return 1
    if isinstance(block, ToolResult):
        return int(bool(block.content)) if isinstance(block.content, str) else sum(map(texts_in, block.content))
    return 0


def put(request: Request, index: int, message: Message | None) -> Request:
    """*request* with another message in the place of number *index*, or without it."""
    system, messages = list(request.system), list(request.messages)
    where, at = (system, index) if index < len(system) else (messages, index - len(system))
    where[at : at + 1] = [] if message is None else [message]
    return replace(request, system=system, messages=messages)


def leaves(value: Json) -> Iterator[Json]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from leaves(each)
    else:
        yield value


def changed_text(request: Request) -> Iterator[tuple[str, Request]]:
    for index, message in pieces(request):
        n = 0
        while (said := with_text(message.content, n)) is not None:
            yield message.at, put(request, index, replace(message, content=said))
            n += 1


def old_texts(before: Request, after: Request) -> list[str]:
    """The texts that are in one and not in the other."""
    old, new = ([str(each) for each in leaves(msgspec.to_builtins(x.messages))] for x in (before, after))
    return [text for text in old if text not in new]


def arrays(value: Json) -> list[list[bytes]]:
    """The elements of the arrays of a body's top level, each as its bytes."""
    top = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    return [
        [bytes(each) for each in msgspec.json.decode(raw, type=list[msgspec.Raw])]
        for raw in top.values()
        if bytes(raw)[:1] == b"["
    ]


def others(body: bytes) -> dict[str, bytes]:
    top = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return {name: bytes(raw) for name, raw in top.items()}


def different(old: Json, new: Json) -> int:
    """How many leaves are not the same."""
    if isinstance(old, dict) and isinstance(new, dict):
        return sum(different(old.get(name), new.get(name)) for name in old.keys() | new.keys())
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return sum(different(*pair) for pair in zip(old, new, strict=True))
    return int(old != new)


@pytest.mark.parametrize(("name", "body"), GOLDENS)
def test_another_text_is_one_leaf_of_the_body(name: str, body: bytes) -> None:
    call, before = parsed(name, body)
    for at, after in changed_text(before):
        losses = LossReport()
        out = edited(dialects.get(name), call, before, after, losses)
        assert list(losses) == [], at
        # Some texts are none in the body: an object in whose place the vocabulary has text.
        single = not any("{" in text for text in old_texts(before, after))
        assert different(json.loads(body), json.loads(out)) == 1 or not single, at
        assert NEW in json.dumps(json.loads(out), ensure_ascii=False)
        kept = [sum(a == b for a, b in zip(*pair, strict=True)) for pair in zip(arrays(body), arrays(out), strict=True)]
        assert sum(map(len, arrays(body))) - sum(kept) <= 1, "every other element has its own bytes"


@pytest.mark.parametrize(("name", "body"), GOLDENS)
@pytest.mark.parametrize("first", [True, False])
def test_another_system_prompt_leaves_all_that_was_said(name: str, body: bytes, first: bool) -> None:
    call, before = parsed(name, body)
    new = [Message("system", NEW)]
    after = replace(before, system=[*new, *before.system] if first else [*before.system, *new])
    losses = LossReport()
    out = edited(dialects.get(name), call, before, after, losses)
    assert list(losses) == []
    found = parsed(name, out)[1]
    assert len(found.messages) == len(before.messages)
    old = [element for array in arrays(body) for element in array]
    assert [element for array in arrays(out) for element in array if element in old] == old


@pytest.mark.parametrize(("name", "body"), GOLDENS)
def test_a_tool_taken_away_leaves_the_others(name: str, body: bytes) -> None:
    call, before = parsed(name, body)
    for tool in before.tools:
        if tool.name in before.tool_choice.names or len(before.tools) < 2:
            continue
        losses = LossReport()
        after = replace(before, tools=[each for each in before.tools if each is not tool])
        out = edited(dialects.get(name), call, before, after, losses)
        assert list(losses) == [] and [each.name for each in parsed(name, out)[1].tools] == [
            each.name for each in after.tools
        ]
        old, left = ([each for array in arrays(x) for each in array] for x in (body, out))
        assert [each for each in old if each in left] == [each for each in left if each in old]
        assert len([each for each in left if each not in old]) <= 1, "a group of tools that one was taken from"


@pytest.mark.parametrize(("name", "body"), GOLDENS)
def test_a_message_more_or_less(name: str, body: bytes) -> None:
    call, before = parsed(name, body)
    for after in (
        replace(before, messages=[*before.messages, Message("assistant", "yes"), Message("user", NEW)]),
        replace(before, messages=[Message("user", NEW), Message("assistant", "yes"), *before.messages]),
        replace(before, messages=before.messages[:1]),
    ):
        try:
            out = edited(dialects.get(name), call, before, after, LossReport())
        except Unsupported:
            continue
        old = [element for array in arrays(body) for element in array]
        left = [element for array in arrays(out) for element in array]
        assert [each for each in left if each in old] == [each for each in old if each in left]
        if len(after.messages) > len(before.messages):
            assert [each for each in left if each in old] == old


def said(request: Request, word: str) -> Any:
    return request.sampling.stop if word == "stop" else getattr(request, word)


@pytest.mark.parametrize(("name", "body"), GOLDENS)
def test_settings_are_changed_where_they_stand(name: str, body: bytes) -> None:
    call, before = parsed(name, body)
    was = others(body)
    sampling = before.sampling
    for after in (
        replace(before, model="another/model"),
        replace(before, sampling=replace(sampling, temperature=0.25)),
        replace(before, sampling=replace(sampling, max_tokens=7)),
        replace(before, sampling=replace(sampling, stop=["one", "two"])),
        replace(before, stream=not before.stream),
        replace(before, sampling=replace(sampling, temperature=None, top_p=None)),
        replace(before, user_id="someone", session_key=None),
    ):
        out = edited(dialects.get(name), call, before, after, losses := LossReport())
        now = others(out)
        # What is lost is what was asked for, where the API cannot say it.
        unlike = [w for w in ("stop", "user_id", "session_key") if said(before, w) != said(after, w)]
        assert all(loss.path.startswith(tuple(after.path_of(w) for w in unlike)) for loss in losses)
        assert len([each for each in was.keys() | now.keys() if was.get(each) != now.get(each)]) <= 2


@settings(max_examples=150, deadline=None)
@given(data=st.data(), name=st.sampled_from(["openai_chat", "anthropic_messages"]))
def test_made_up_conversations(data: st.DataObject, name: str) -> None:
    other = {"openai_chat": "anthropic_messages", "anthropic_messages": "openai_chat"}[name]
    body = json.dumps(data.draw(requests(name, other))).encode()
    call, before = parsed(name, body)
    changes = list(changed_text(before))
    if not changes:
        return
    at, after = data.draw(st.sampled_from(changes))
    out = edited(dialects.get(name), call, before, after, losses := LossReport())
    assert list(losses) == [] and different(json.loads(body), json.loads(out)) == 1, at
