from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc import Call
from extproc.llm.request import Message, ToolCall, ToolResult
from extproc.route import RouteError

from .clients import CLIENTS, PAIRS, RUN, asked, exchange, heard, reached, read, said, text_of, texts, written

BOTH = {
    "prompt_decorator": {
        "prepend": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "before"}],
        "append": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "after"}],
    }
}
TURNS = [Message("user", "one"), Message("assistant", "two"), Message("user", "three")]
pairs = pytest.mark.parametrize(("client", "upstream"), PAIRS)
clients = pytest.mark.parametrize("client", CLIENTS)


def words(found: list[tuple[str, str]]) -> list[str]:
    """What is said in what order. Some APIs have one system prompt, joined of its parts."""
    return [word for _, text in found for word in text.split("\n\n")]


@pytest.mark.rows("B2", "B30", "B33")
@pytest.mark.parametrize("stream", [False, True])
@pairs
def test_messages_around_what_the_client_says(client: str, upstream: str, stream: bool) -> None:
    t = exchange(client, upstream, BOTH)
    got = reached(t, written(client, Message("system", "be exact"), *TURNS, stream=stream))
    assert words(said(got)) == ["be brief", "be exact", "be kind", "before", "one", "two", "three", "after"]
    assert {role for role, text in said(got) if text.startswith("be ")} == {"system"}
    assert [role for role, text in said(got) if text == "two"] == ["assistant"]
    assert text_of(heard(t, texts("good ", "evening"), stream=stream)) == "good evening"


@pairs
def test_where_the_client_has_no_system_prompt(client: str, upstream: str) -> None:
    t = exchange(client, upstream, {"prompt_decorator": {"prepend": [{"role": "system", "content": "be brief"}]}})
    got = reached(t, written(client, *TURNS))
    assert [m.role for m in got.system] == ["system"]
    assert words(said(got)) == ["be brief", "one", "two", "three"]


@clients
def test_where_the_api_keeps_system_prompts(client: str) -> None:
    t = exchange(client, client, {"prompt_decorator": {"prepend": [{"role": "system", "content": "be brief"}]}})
    call = asked(t, written(client, *TURNS))
    assert isinstance(call, Call)
    body: dict[str, Any] = msgspec.json.decode(call.body)
    place: dict[str, tuple[Any, ...]] = {
        "openai_chat": ("messages", 0, "content"),
        "anthropic_messages": ("system",),
        "openai_responses": ("instructions",),
        "bedrock_converse": ("system", 0, "text"),
        "gemini": ("systemInstruction", "parts", 0, "text"),
    }
    kept: Any = body
    for step in place[client]:
        kept = kept[step]
    assert kept in ("be brief", [{"type": "text", "text": "be brief"}])


@clients
def test_passing_traffic_keeps_its_bytes(client: str) -> None:
    sent = written(client, *TURNS)
    old = msgspec.json.encode("three")
    body = sent.body.replace(old, b' "th\\u0072ee"  ')
    assert body != sent.body
    call = asked(exchange(client, client, BOTH), msgspec.structs.replace(sent, body=body))
    assert isinstance(call, Call) and b' "th\\u0072ee"  ' in call.body and b"after" in call.body


@clients
def test_they_never_pile_up(client: str) -> None:
    """Not over the turns of a conversation, nor behind another gateway that has the same rule."""
    for upstream in CLIENTS:
        first = asked(exchange(client, upstream, BOTH), written(client, *TURNS))
        again = [*TURNS, Message("assistant", "four"), Message("user", "five")]
        second = reached(exchange(client, upstream, BOTH), written(client, *again))
        assert words(said(second)).count("before") == words(said(second)).count("be brief") == 1
        assert isinstance(first, Call)
        there = exchange(upstream, upstream, BOTH).request(first.body, "POST", first.path)
        assert isinstance(there, Call)
        found = words(said(read(upstream, there.path, there.body)))
        assert found.count("after") == found.count("before") == found.count("be brief") == found.count("be kind") == 1


@pairs
def test_what_comes_before_stays_the_same_over_the_turns(client: str, upstream: str) -> None:
    """So that the provider's cache of the prefix holds."""
    rule = {"prompt_decorator": {"prepend": BOTH["prompt_decorator"]["prepend"],
                                 "append": BOTH["prompt_decorator"]["append"][:1]}}  # fmt: skip
    one = said(reached(exchange(client, upstream, rule), written(client, *TURNS)))
    more = [*TURNS, Message("assistant", "four"), Message("user", "five")]
    two = said(reached(exchange(client, upstream, rule), written(client, *more)))
    assert two[: len(one)] == one and len(two) == len(one) + 2


def test_cache_markers_stay_where_they_are() -> None:
    body = (
        b'{"model":"m","max_tokens":9,"system":[{"type":"text","text":"long","cache_control":{"type":"ephemeral"}}],'
        b'"messages":[{"role":"user","content":[{"type":"text","text":"one","cache_control":{"type":"ephemeral"}}]}]}'
    )
    t = exchange("anthropic_messages", "anthropic_messages", BOTH)
    call = t.request(body, "POST", "/v1/messages")
    assert isinstance(call, Call)
    sent = msgspec.json.decode(call.body)
    marked = [block["text"] for block in sent["system"] if "cache_control" in block]
    assert marked == ["long"] and call.body.count(b"cache_control") == 2
    assert '"text": "one", "cache_control"' in str(sent["messages"]).replace("'", '"')


@pairs
def test_calls_keep_their_results(client: str, upstream: str) -> None:
    called = [
        Message("user", "one"),
        Message("assistant", [ToolCall("call_1", "run", input={})]),
        Message("tool", [ToolResult("call_1", "noon")]),
    ]
    got = reached(exchange(client, upstream, BOTH), written(client, *called, tools=[RUN]))
    kinds = [text for _, text in said(got)]
    at = kinds.index("ToolCall")
    assert kinds[at + 1] == "ToolResult" and kinds[-1] == "after"


def test_an_answer_that_the_client_has_begun_stays_the_last() -> None:
    t = exchange("anthropic_messages", "anthropic_messages", BOTH)
    got = reached(t, written("anthropic_messages", Message("user", "one"), Message("assistant", "It is")))
    assert said(got)[-2:] == [("user", "after"), ("assistant", "It is")]


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({}, "prepend: it or append must hold a message"),
        ({"prepend": "x"}, "prepend: expected a list of mappings"),
        ({"prepend": [{"role": "tool", "content": "x"}]}, "prepend[0].role: choose one of: user, system, assistant"),
        ({"prepend": [{"role": "user"}]}, "prepend[0].content: is needed"),
        ({"prepend": [{"role": "user", "content": " "}]}, "prepend[0].content: is empty"),
        ({"append": [{"role": "user", "content": "x", "name": "y"}]}, "append[0].name: unknown key"),
        ({"append": [{"role": "assistant", "content": "x"}]}, "append: the last message cannot be the assistant's"),
    ],
)
def test_what_is_wrong(members: dict[str, Any], says: str) -> None:
    with pytest.raises(RouteError) as wrong:
        exchange("openai_chat", "openai_chat", {"prompt_decorator": members})
    assert f"policies[0].prompt_decorator.{says}" in str(wrong.value)
