"""Changes to a request that stays in its own dialect, as a policy makes them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from extproc import Call, Translation, dialects
from extproc.dialects.base import ClientCall, Upstream
from extproc.dialects.shared.relay import edited
from extproc.llm.failures import Unsupported
from extproc.llm.losses import LossReport
from extproc.llm.request import Image, Message, Request, Source, Text, Tool, ToolChoice
from tests.policy.clients import CLIENTS, exchange, written

CHAT, MESSAGES = "openai_chat", "anthropic_messages"
ODD = (
    b'{"model":"m","x":1.50, "messages":[ {"role":"user" , "content":"one","u":{"k":1e2}},'
    b'{"role":"assistant","content":[{"type":"text","text":"\\u0041"},{"type":"text","text":"B","v":[ 1 ]}]},'
    b'{"role":"user","content":"two"} ]}'
)


class Edit:
    """What became of a body."""

    def __init__(self, name: str, body: Any) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.dialect = dialects.get(name)
        self.call = ClientCall("POST", self.dialect.paths[0], [], raw)
        self.before: Request = self.dialect.parse_request(self.call, LossReport())
        self.losses = LossReport()

    def to(self, **members: Any) -> bytes:
        after = replace(self.before, **members)
        return edited(self.dialect, self.call, self.before, after, self.losses)

    def message(self, index: int, **members: Any) -> bytes:
        messages = list(self.before.messages)
        messages[index] = replace(messages[index], **members)
        return self.to(messages=messages)

    def blocks(self, index: int) -> list[Any]:
        content = self.before.messages[index].content
        assert isinstance(content, list)
        return content

    @property
    def reported(self) -> list[str]:
        return [str(loss) for loss in self.losses]


def test_the_bytes_of_what_is_not_changed() -> None:
    edit = Edit(CHAT, ODD)
    out = edit.message(2, content="three")
    for kept in (b'{"role":"user" , "content":"one","u":{"k":1e2}}', b'"\\u0041"', b'"v":[ 1 ]', b'"x":1.50'):
        assert kept in out
    assert json.loads(out)["messages"][2] == {"role": "user", "content": "three"} and not edit.reported


def test_within_a_message_the_other_parts_keep_theirs() -> None:
    edit = Edit(CHAT, ODD)
    first, second = edit.blocks(1)
    out = edit.message(1, content=[replace(first, text="new"), second])
    assert b'{"type":"text","text":"B","v":[ 1 ]}' in out and b'{"type":"text","text":"new"}' in out
    out = edit.message(1, content=[second])
    assert json.loads(out)["messages"][1]["content"] == [{"type": "text", "text": "B", "v": [1]}]
    out = edit.message(1, content=[Text("zero"), first, second])
    assert json.loads(out)["messages"][1]["content"][0] == {"type": "text", "text": "zero"}
    assert b'{"type":"text","text":"\\u0041"},{"type":"text","text":"B","v":[ 1 ]}' in out and not edit.reported


def test_a_message_of_another_form_is_written_anew_and_the_others_are_not() -> None:
    edit = Edit(CHAT, ODD)
    out = edit.message(0, content=[Text("a"), Text("b")])
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert json.loads(out)["messages"][0] == {"role": "user", "content": parts, "u": {"k": 100.0}}
    assert b'"text":"\\u0041"},{"type":"text","text":"B","v":[ 1 ]}' in out
    assert not edit.reported


RESULT: dict[str, Any] = {
    "model": "m", "max_tokens": 9, "tools": [{"name": "f", "input_schema": {"type": "object"}, "own": 1}],
    "messages": [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1.0}, "own": 1}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [
            {"type": "text", "text": "secret", "own": 1}, {"type": "text", "text": "plain"}]}]},
    ],
}  # fmt: skip


def test_what_a_tool_said_and_was_asked() -> None:
    edit = Edit(MESSAGES, RESULT)
    result: Any
    call: Any
    (result,) = edit.blocks(2)
    out = json.loads(edit.message(2, content=[replace(result, content=[replace(result.content[0], text="[gone]")])]))
    expected = json.loads(json.dumps(RESULT))
    expected["messages"][2]["content"][0]["content"] = [{"type": "text", "text": "[gone]", "own": 1}]
    assert out == expected
    (call,) = edit.blocks(1)
    out = json.loads(edit.message(1, content=[replace(call, input={"a": 2})]))
    expected = json.loads(json.dumps(RESULT))
    expected["messages"][1]["content"][0]["input"] = {"a": 2}
    assert out == expected and not edit.reported


@pytest.mark.parametrize(
    ("name", "system", "sent"),
    [
        (MESSAGES, None, "new"),
        (MESSAGES, "old", [{"type": "text", "text": "old"}, {"type": "text", "text": "new"}]),
        (MESSAGES, [{"type": "text", "text": "old", "own": 1}],
         [{"type": "text", "text": "old", "own": 1}, {"type": "text", "text": "new"}]),
    ],
)  # fmt: skip
def test_a_system_prompt_beside_the_messages(name: str, system: Any, sent: Any) -> None:
    edit = Edit(name, RESULT | ({"system": system} if system else {}))
    out = json.loads(edit.to(system=[*edit.before.system, Message("system", "new")]))
    assert out == RESULT | {"system": sent} and not edit.reported
    if system:
        first = json.loads(edit.to(system=[Message("system", "new"), *edit.before.system]))["system"]
        assert first == [sent[1], sent[0]]
        assert "system" not in json.loads(edit.to(system=[]))


def test_a_system_prompt_among_the_messages() -> None:
    said = [{"role": "developer", "content": "d"}, {"role": "user", "content": "u"}]
    edit = Edit(CHAT, {"model": "m", "messages": said})
    out = json.loads(edit.to(system=[Message("system", "s"), *edit.before.system]))["messages"]
    assert out == [{"role": "system", "content": "s"}, *said]


@pytest.mark.parametrize("name", [CHAT, MESSAGES])
def test_tools(name: str) -> None:
    function = {"name": "f", "description": "old", "parameters": {"type": "object"}}
    tool: Any = {"type": "function", "function": function, "own": 1}
    if name == MESSAGES:
        tool = {"name": "f", "description": "old", "input_schema": {"type": "object"}, "own": 1}
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "q"}], "tools": [tool]}
    edit = Edit(name, body)
    (own,) = edit.before.tools
    out = json.loads(edit.to(tools=[replace(own, description="new")]))
    assert out == json.loads(json.dumps(body).replace("old", "new"))
    more = json.loads(edit.to(tools=[own, Tool("g", description="mine", schema={"type": "object"})]))
    assert more["tools"][0] == tool and "mine" in json.dumps(more["tools"][1])
    assert "tools" not in json.loads(edit.to(tools=[])) and not edit.reported
    forced = json.loads(edit.to(tool_choice=ToolChoice("required")))
    assert forced["tools"] == [tool] and forced["tool_choice"] in ("required", {"type": "any"})


G: dict[str, Any] = {"name": "g", "parameters": {"type": "object"}}
GROUPED: dict[str, Any] = {
    "openai_responses": {"model": "m", "input": "q", "tools": [
        {"type": "web_search"},
        {"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "function", **G}]},
        {"type": "function", **G, "name": "h"}]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "q"}]}], "tools": [
        {"google_search": {}}, {"functionDeclarations": [G]}, {"code_execution": {}}]},
}  # fmt: skip


@pytest.mark.parametrize("name", GROUPED)
def test_what_holds_nothing_any_more_goes_too(name: str) -> None:
    body = GROUPED[name]
    edit = Edit(name, body)
    left = [tool for tool in edit.before.tools if not tool.name.endswith("g") or tool.name == "google_search"]
    out = json.loads(edit.to(tools=left))
    assert out == {**body, "tools": [body["tools"][0], body["tools"][2]]} and not edit.reported
    assert "tools" not in json.loads(edit.to(tools=[]))


def test_members_that_the_vocabulary_has_no_word_for() -> None:
    said = b'[ {"role":"user","content":"q"}]'
    held = b'{ "type":"content", "content":"x" }'
    edit = Edit(CHAT, b'{"model":"m","prediction":' + held + b',"mcp_servers":[1],"messages":' + said + b"}")
    extra = dict(edit.before.extra)
    changed = {**extra, "prediction": replace(extra["prediction"], value={"type": "content", "content": "y"})}
    out = edit.to(extra=changed)
    assert b'"prediction":{"type":"content","content":"y"}' in out and b'"mcp_servers":[1]' in out and said in out
    out = edit.to(extra={"prediction": extra["prediction"]})
    assert b"mcp_servers" not in out and held in out and said in out and not edit.reported


def test_what_is_written_anew_says_no_more_than_the_client() -> None:
    """What its provider does where nothing is said is the client's own affair."""
    held = {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,aGk="}
    edit = Edit("openai_responses", {"model": "m", "input": [{"role": "user", "content": [held]}], "own": 1})
    (document,) = edit.blocks(0)
    out = json.loads(edit.message(0, content=[replace(document, source=Source("base64", "eW91", "text/plain"))]))
    assert set(out) == {"model", "input", "own"} and edit.reported and "you" in json.dumps(out)


def test_a_choice_goes_with_the_last_tool() -> None:
    body = {**RESULT, "messages": RESULT["messages"][:1], "tool_choice": {"type": "any"}}
    edit = Edit(MESSAGES, body)
    out = json.loads(edit.to(tools=[], tool_choice=ToolChoice()))
    assert "tools" not in out and "tool_choice" not in out


def test_what_has_no_single_place_is_written_anew_and_said() -> None:
    """Two pieces of reasoning that stand in one array, one of them taken away."""
    details = [
        {"type": "reasoning.text", "text": "a", "signature": "A", "index": 0, "format": "x"},
        {"type": "reasoning.text", "text": "b", "signature": "B", "index": 1, "format": "x"},
    ]
    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "ok", "reasoning_details": details},
        {"role": "user", "content": "q"},
    ]
    edit = Edit(CHAT, {"model": "m", "messages": messages, "n": 2, "own": {"deep": 1}})
    out = json.loads(edit.message(1, content=edit.blocks(1)[1:]))
    assert out["own"] == {"deep": 1} and out["n"] == 2 and len(out["messages"]) == 3
    assert edit.reported, "the change is not made in silence"


def test_what_an_api_cannot_say_is_refused() -> None:
    edit = Edit(CHAT, {"model": "m", "messages": [{"role": "user", "content": "q"}]})
    with pytest.raises(Unsupported):
        edit.to(messages=[*edit.before.messages, Message("system", [Image(Source("url", "https://e.x"))])])


def test_a_request_keeps_what_it_was_read_from_for_itself() -> None:
    call = ClientCall("POST", "/v1/messages", [("authorization", "Bearer SECRET")], json.dumps(RESULT).encode())
    request = dialects.get(MESSAGES).parse_request(call, LossReport())
    assert "SECRET" not in repr(request)
    again = dialects.get(MESSAGES).emit_request(request, Upstream("p", "/v1/messages"), LossReport())
    assert again.members == RESULT and again.path == "/v1/messages"
    sent = dialects.get(MESSAGES).emit_request(replace(request, model="n"), Upstream("p", "/x"), LossReport())
    assert sent.members == {**RESULT, "model": "n"}
    other = dialects.get(CHAT).emit_request(request, Upstream("p", "/x"), LossReport())
    assert "own" not in json.dumps(other.members["tools"])


ODD_TEXTS = {
    "half a pair": (b"HERE", b"\\ud83d"),
    "bytes that are no UTF-8": (b"HERE", b"\xff\xfe"),
    "a name that is no UTF-8": (b'"HERE"', b'"x","\x8d":"y"'),
    "no number": (b'"HERE"', b"NaN"),
    "a number that none can hold": (b'"HERE"', b"1e999"),
}


@pytest.mark.parametrize("odd", ODD_TEXTS)
@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_no_unicode_is_changed_as_it_was_understood(client: str, odd: str) -> None:
    call = written(client, Message("user", "hi"))
    old, new = ODD_TEXTS[odd]
    body = (call.body[:-1] + b',"extra_member":"HERE"}').replace(old, new)
    policy = {"prompt_decorator": {"append": [{"role": "user", "content": "bye"}]}}
    for upstream in CLIENTS:
        sent = exchange(client, upstream, policy).request(body, call.method, call.path)
        assert isinstance(sent, Call) and b"bye" in sent.body and b"hi" in sent.body


@pytest.mark.parametrize("odd", ["half a pair", "bytes that are no UTF-8"])
def test_what_is_embedded_likewise(odd: str) -> None:
    body = b'{"model":"m","input":["a@example.org","HERE"]}'.replace(*ODD_TEXTS[odd])
    route = {"provider": "openai", "auth": "none", "policies": [{"redact": {"recognisers": ["email"]}}]}
    sent = Translation(route=route, now=1.0).request(body, "POST", "/v1/embeddings")
    assert isinstance(sent, Call) and b"example.org" not in sent.body
