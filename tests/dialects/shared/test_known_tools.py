from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from extproc import Translation
from extproc.dialects import registry
from extproc.dialects.base import ClientCall, Opened, encode, top_level
from extproc.dialects.shared import known_tools
from extproc.dialects.shared.known_tools import KNOWN, LONGEST, SHORTEST, KnownList, KnownTools, opened
from extproc.llm.failures import ProtocolError
from extproc.llm.losses import LossReport
from extproc.llm.request import Tool
from extproc.providers import CONVERSATIONS

LONG = "y" * SHORTEST
UPSTREAMS = sorted(set(CONVERSATIONS) - {"anthropic_vertex"})
"""But for one whose address must be configured: it is written as Bedrock's is."""
MESSAGES = registry.get("anthropic_messages")


@pytest.fixture(autouse=True)
def nothing_is_known() -> Iterator[None]:
    KNOWN.clear()
    yield
    KNOWN.clear()


def tool(name: str = "look", schema: Any = None, **members: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"at": {"type": "string"}}} if schema is None else schema
    return {"name": name, "description": LONG, "input_schema": schema, **members}


def body(*tools: dict[str, Any], **members: Any) -> bytes:
    asked = [{"role": "user", "content": "hi"}]
    return json.dumps({"model": "m", "max_tokens": 9, "messages": asked, "tools": tools, **members}).encode()


SHAPES: dict[str, dict[str, Any]] = {
    "plain": tool(),
    "marked": tool(cache_control={"type": "ephemeral"}),
    "strict": tool(strict=True),
    "with more": tool(defer_loading=True, own={"a": [1]}),
    "of no name that fits": tool("höhe/messen"),
    "by code alone": tool(allowed_callers=["code_execution_20250825"]),
    "with choices": tool(schema={"anyOf": [{"type": "object", "properties": {"a": {}}}]}),
    "to be mended": tool(schema={"type": "object", "properties": {"a": {"type": "array", "items": None}}}),
    "without a root": tool(schema={"$ref": "#/$defs/x", "$defs": {"x": {"type": "object"}}}),
    "Anthropic's own": {"type": "web_search_20250305", "name": "web_search", "max_uses": 3, "note": LONG},
    "a client's, by a type": {"type": "bash_20250124", "name": "bash", "note": LONG},
}


def made(data: bytes, upstream: str) -> Any:
    translation = Translation("anthropic_messages", upstream, now=0)
    try:
        call = translation.request(data)
    except Exception as error:
        return type(error), getattr(error, "body", str(error))
    return call, [(str(loss), loss.detail) for loss in translation.losses]


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_list_that_came_before_makes_the_same_again(shape: str, upstream: str) -> None:
    data = body(tool("other"), SHAPES[shape], stream=True)
    first = made(data, upstream)
    assert len(KNOWN) == (1 if upstream != "anthropic_messages" else 0)
    kept = copy.deepcopy([(known.tools, known.extra) for _, known in KNOWN.items()])
    assert made(data, upstream) == first
    assert made(data, upstream) == first
    assert [(known.tools, known.extra) for _, known in KNOWN.items()] == kept, "nobody changes what is kept"
    KNOWN.clear()
    assert made(data, upstream) == first


@pytest.mark.parametrize("other", UPSTREAMS)
def test_one_list_for_several_upstreams(other: str) -> None:
    data = body(*(shape for name, shape in SHAPES.items() if name != "by code alone"))
    alone = made(data, other)
    KNOWN.clear()
    for upstream in UPSTREAMS:
        made(data, upstream)
    assert made(data, other) == alone


def test_what_was_read_is_taken_from_there() -> None:
    data = body(tool())
    first, second = (MESSAGES.parse_request(ClientCall("POST", "", [], data), LossReport()) for _ in range(2))
    assert first.tools[0] is second.tools[0]
    assert first.tools is not second.tools
    assert first == second


def test_what_was_written_is_taken_from_there() -> None:
    KNOWN.keep("one", b"text", KnownList([Tool("a"), Tool("b")], {}))
    ((_, known),) = KNOWN.items()
    assert KNOWN.written(known.tools[0], "so") is None
    assert KNOWN.note(known.tools[0], "so", {"a": 1}) == msgspec.Raw(b'{"a":1}')
    assert KNOWN.written(known.tools[0], "so") == msgspec.Raw(b'{"a":1}')
    assert KNOWN.written(known.tools[0], "otherwise") is None
    assert KNOWN.written(known.tools[1], "so") is None


def test_of_a_tool_that_is_of_no_list_nothing_is_kept() -> None:
    KNOWN.keep("one", b"text", KnownList([Tool("a")], {}))
    alike = Tool("a")
    assert KNOWN.note(alike, "so", {"a": 1}) == {"a": 1}
    assert KNOWN.written(alike, "so") is None


def test_the_same_text_is_read_otherwise_by_another_dialect() -> None:
    KNOWN.keep("one", b"text", KnownList([], {}))
    assert KNOWN.find("one", b"text") is not None
    assert KNOWN.find("two", b"text") is None


def test_what_was_used_least_leaves_first_and_all_of_it() -> None:
    known = KnownTools(100)
    lists = [KnownList([Tool(f"{n}")], {}) for n in range(4)]
    for n in range(3):
        known.keep("one", b"%d" % n * 33, lists[n])
    assert known.find("one", b"0" * 33) is lists[0]
    known.note(lists[1].tools[0], "so", {})
    known.keep("one", b"3" * 33, lists[3])
    assert [known.find("one", b"%d" % n * 33) for n in range(4)] == [lists[0], None, lists[2], lists[3]]
    assert known.written(lists[1].tools[0], "so") is None
    assert known.note(lists[1].tools[0], "so", {"a": 1}) == {"a": 1}
    known.keep("one", b"4" * 1000, KnownList([Tool("5")], {}))
    assert len(known) == 0


@pytest.mark.parametrize("size", [0, SHORTEST - 400, LONGEST + 1])
def test_lists_of_other_lengths_are_not_kept(size: int) -> None:
    data = body({**tool(), "description": "y" * size})
    assert len(MESSAGES.parse_request(ClientCall("POST", "", [], data), LossReport()).tools) == 1
    assert len(KNOWN) == 0


def test_all_that_are_kept_are_within_their_bound() -> None:
    for n in range(12):
        data = body({**tool(f"t{n}"), "description": "y" * (LONGEST - 200)})
        MESSAGES.parse_request(ClientCall("POST", "", [], data), LossReport())
    texts = [text for (_, text), _ in KNOWN.items()]
    assert texts
    assert sum(map(len, texts)) <= known_tools.MOST


@pytest.mark.parametrize(
    "tools",
    [b'"x"', b'[{"name": 1}, "' + LONG.encode() + b'"]', b'{"' + LONG.encode() + b'": 1}', b"[1e999]", b"null"],
    ids=len,
)
def test_what_is_no_list_of_tools_is_not_kept(tools: bytes) -> None:
    data = body(tool()).replace(json.dumps([tool()]).encode(), tools)
    assert made(data, "openai_chat") == made(data, "openai_chat")
    assert len(KNOWN) == 0


@pytest.mark.parametrize("broken", [b"\xff", b"\\ud800", b"\xed\xa0\x80"], ids=["byte", "escape", "half"])
@pytest.mark.parametrize("place", ["tools", "messages", "both"])
def test_what_is_no_text_is_mended_as_ever(broken: bytes, place: str) -> None:
    data = body(tool())
    if place != "messages":
        data = data.replace(b"yyyy", b"yy" + broken, 1)
    if place != "tools":
        data = data.replace(b'"hi"', b'"h' + broken + b'"')
    without = ClientCall("POST", "", [], data)
    read = MESSAGES.parse_request(without, LossReport())
    assert "\ufffd" in str(read.tools[0].description) + str(read.messages[0].content)
    kept = len(KNOWN)
    KNOWN.clear()
    try:
        looked_at = Opened(data, top_level(data))
    except ProtocolError:
        return  # whoever looks at the members refuses it
    again = MESSAGES.parse_request(ClientCall("POST", "", [], data, looked_at), LossReport())
    assert again.tools == read.tools
    assert again.messages == read.messages
    assert kept == len(KNOWN)


def test_of_two_members_the_last_one_counts() -> None:
    data = body(tool("first"))[:-1] + b', "tools": ' + json.dumps([tool("last")]).encode() + b"}"
    for _ in range(2):
        read = MESSAGES.parse_request(ClientCall("POST", "", [], data), LossReport())
        assert [each.name for each in read.tools] == ["last"]


def test_members_that_somebody_has_looked_at_are_the_body_s() -> None:
    data = body(tool())
    call = ClientCall("POST", "", [], data, Opened(data, {**top_level(data), "model": "sent"}))
    found = opened(call, "one")
    assert found.members["model"] == "sent"
    assert type(found.members["messages"]) is list
    assert encode(found.members["tools"]) == encode(json.loads(data)["tools"])
    KNOWN.keep("one", found.text, KnownList([], {}))
    assert "tools" not in opened(call, "one").members
    assert type(call.members()["messages"]) is msgspec.Raw, "the call's own stay as they are"
