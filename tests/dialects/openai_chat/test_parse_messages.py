from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.openai_chat import thoughts
from extproc.llm import marker
from extproc.llm.failures import ProtocolError
from extproc.llm.request import CacheMarker, Message, Text, Thinking, ToolCall, ToolResult

from .helpers import parse

CLAUDE = "anthropic-claude-v1"
USER = {"role": "user", "content": "q"}


def call(id_: str | None = "c1", name: str = "f", arguments: Any = "{}") -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def asks(*calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": list(calls), **more}


def answers(id_: str | None = "c1", content: Any = "ok", **more: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": content, **more}


def messages(*values: Any) -> list[Message]:
    return parse({"messages": list(values)})[0].messages


def refused(*values: Any) -> ProtocolError:
    with pytest.raises(ProtocolError) as error:
        parse({"messages": list(values)})
    return error.value


def test_leading_system_and_developer_messages_stand_apart() -> None:
    request, _ = parse(
        {"messages": [{"role": "system", "content": "A"}, {"role": "developer", "content": "B"}, USER,
                      {"role": "system", "content": "C"}]}
    )  # fmt: skip
    assert request.system == [Message("system", "A", "messages[0]"), Message("system", "B", "messages[1]")]
    assert request.messages == [Message("user", "q", "messages[2]"), Message("system", "C", "messages[3]")]


def test_names_extras_and_cache_markers() -> None:
    marked = {
        "role": "user",
        "content": "q",
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
        "name": "bob",
        "x": 1,
    }
    [message] = messages(marked)
    at = "messages[0]"
    assert message == Message("user", [Text("q", at, CacheMarker("1h"))], at, "bob", {"x": 1})
    [message] = messages({"role": "user", "content": [{"type": "text", "text": "a"}], "cache_control": {}})
    assert message.content == [Text("a", "messages[0].content[0]", CacheMarker())]


def test_an_assistants_message_in_its_order() -> None:
    said = asks(call(), content="t", reasoning_content="r", refusal="no", annotations=[], audio={"id": "a"})
    [_, message, _] = messages(USER, said, answers())
    at = "messages[1]"
    assert message.content == [
        Thinking("r", at=f"{at}.reasoning_content"),
        Text("t", at),
        Text("no", f"{at}.refusal", refusal=True),
        ToolCall("c1", "f", "{}", at=f"{at}.tool_calls[0]"),
    ]
    assert message.extra == {"audio": {"id": "a"}}


@pytest.mark.parametrize(
    ("members", "content"),
    [
        ({"content": "a"}, "a"), ({"content": None}, ""), ({}, ""), ({"content": None, "refusal": "No."}, "No."),
        ({"content": "", "tool_calls": []}, ""),
    ],
)  # fmt: skip
def test_a_string_stays_a_string(members: Any, content: str) -> None:
    assert messages(USER, {"role": "assistant", **members})[1].content == content


@pytest.mark.parametrize(
    ("arguments", "text"), [("{}", "{}"), ("", ""), (None, ""), ("{bad", "{bad"), ({"a": "é"}, '{"a":"é"}')]
)
def test_arguments_stay_as_they_came(arguments: Any, text: str) -> None:
    content = messages(USER, asks(call(arguments=arguments)), answers())[1].content
    assert isinstance(content[0], ToolCall)
    assert content[0].arguments == text


def test_free_form_calls() -> None:
    custom = {"id": "c1", "type": "custom", "custom": {"name": "py", "input": "print(1)"}}
    content = messages(USER, asks(custom), answers())[1].content
    assert content == [ToolCall("c1", "py", "print(1)", kind="custom", at="messages[1].tool_calls[0]")]


def test_results() -> None:
    result = answers(
        content=[{"type": "text", "text": "A"}], is_error=True, cache_control={"type": "ephemeral"}, name="f"
    )
    message = messages(USER, asks(call()), result)[2]
    texts: list[Any] = [Text("A", "messages[2].content[0]")]
    assert message == Message("tool", [ToolResult("c1", texts, True, "messages[2]", CacheMarker())], "messages[2]")
    assert messages(USER, asks(call()), answers(name="other"))[2].name == "other"


def test_results_without_ids_are_paired_by_their_place() -> None:
    def ids(*values: Any) -> list[str]:
        results = [m.content[0] for m in messages(USER, *values) if m.role == "tool"]
        return [result.id for result in results if isinstance(result, ToolResult)]

    assert ids(asks(call("c1"), call("c2")), answers(None), answers(None)) == ["c1", "c2"]
    assert ids(asks(call("c1"), call("c2")), answers("c2"), answers(None)) == ["c2", "c1"]
    assert ids(asks(call(None)), answers("made_up")) == [""]
    assert ids(asks(call("c")), answers("c"), asks(call("c")), answers("c")) == ["c", "c"], "ids count anew"


def test_the_older_shape() -> None:
    _, asked, answered = messages(
        USER,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "ok"},
    )
    assert asked.content == [ToolCall("fc_1", "f", "{}", at="messages[1].function_call")]
    assert answered == Message("tool", [ToolResult("fc_1", "ok", at="messages[2]")], "messages[2]")


@pytest.mark.parametrize(
    ("values", "path", "problem"),
    [
        ([], "messages", "at least one"),
        ([7], "messages[0]", "expected an object"),
        ([{"content": "x"}], "messages[0].role", "is missing"),
        ([{"role": "owner", "content": "x"}], "messages[0].role", "expected one of"),
        ([{"role": "user"}], "messages[0].content", "is missing"),
        ([{"role": "user", "content": 3}], "messages[0].content", "expected a string or an array"),
        ([USER, asks({"type": "x", "id": "a"})], "messages[1].tool_calls[0].type", "expected function or custom"),
        ([USER, asks({"type": "function"})], "messages[1].tool_calls[0].function", "is missing"),
        ([USER, asks(call(arguments=3))], "messages[1].tool_calls[0].function.arguments", "expected a string"),
        ([{"role": "system", "content": [{"type": "image_url"}]}], "messages[0].content[0]", "only hold text"),
    ],
    ids=repr,
)
@pytest.mark.rows("D31")
def test_what_the_api_refuses(values: list[Any], path: str, problem: str) -> None:
    error = refused(*values)
    assert error.path == path
    assert problem in error.problem


def test_calls_and_results_that_do_not_belong_together_are_read_as_they_stand() -> None:
    """An interrupted turn leaves them, and the history is sent again with each request."""

    def ids(*values: Any) -> list[str]:
        return [m.content[0].id for m in messages(USER, *values) if m.role == "tool"]  # type: ignore[union-attr]

    assert ids(answers("c1"), answers(None)) == ["c1", ""]
    assert ids(asks(call("a")), answers("b"), answers("a"), answers("a")) == ["b", "a", "a"]
    assert messages(USER, asks(call("a")), USER)[1].role == "assistant"


def test_anthropics_blocks_are_read_as_what_they_are() -> None:
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    back = {"type": "tool_result", "tool_use_id": "t", "content": "ok"}
    seal = {"type": "thinking", "thinking": "w", "signature": "S"}
    _, asked, answered = messages(
        USER,
        {"role": "assistant", "content": [seal, {"type": "text", "text": "x"}, use]},
        {"role": "user", "content": [back, {"type": "text", "text": "y"}]},
    )
    at = "messages[1].content"
    assert asked.content == [
        Thinking("w", "S", None, CLAUDE, 0, f"{at}[0]"), Text("x", f"{at}[1]"),
        ToolCall("t", "f", input={"a": 1}, at=f"{at}[2]"),
    ]  # fmt: skip
    assert answered.content[0] == ToolResult("t", "ok", at="messages[2].content[0]")


def test_what_is_said_in_both_forms_is_read_once() -> None:
    use = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
    seal = {"type": "thinking", "thinking": "w", "signature": "S"}
    both = {"role": "assistant", "content": [seal, use], "tool_calls": [call()], "reasoning_content": "w"}
    content = messages(USER, both, answers())[1].content
    assert [type(block) for block in content] == [Thinking, ToolCall]
    assert content[0].signature == "S"  # type: ignore[union-attr]


# ---- thinking


def thinking(**members: Any) -> list[Thinking]:
    content = messages(USER, {"role": "assistant", "content": "a", **members})[1].content
    return [block for block in content if isinstance(block, Thinking)]


def detail(
    text: str, signature: str | None = None, index: int | None = 0, format_: str | None = CLAUDE
) -> dict[str, Any]:
    seal = {"signature": signature} if signature else {}
    return {"type": "reasoning.text", "text": text, "format": format_, "index": index, **seal}


def test_thinking_from_each_place() -> None:
    at = "messages[1]"
    assert thinking(reasoning_content="r") == [Thinking("r", at=f"{at}.reasoning_content")]
    assert thinking(reasoning="r") == [Thinking("r", at=f"{at}.reasoning")]
    blocks = [
        {"type": "thinking", "thinking": "w", "signature": "S"}, {"type": "redacted_thinking", "data": "R"},
        {"type": "thinking", "thinking": "unsigned"}, 3,
    ]  # fmt: skip
    claude = [
        Thinking("w", "S", None, CLAUDE, at="?"), Thinking("", None, "R", CLAUDE, at="?"), Thinking("unsigned", at="?"),
    ]  # fmt: skip
    for members, where in (
        ({"thinking_blocks": blocks}, "thinking_blocks"),
        ({"provider_specific_fields": {"thinking_blocks": blocks}}, "provider_specific_fields.thinking_blocks"),
    ):
        found = thinking(**members)
        assert [(b.text, b.signature, b.encrypted, b.signer) for b in found] == [
            (b.text, b.signature, b.encrypted, b.signer) for b in claude
        ]
        assert {b.at for b in found} == {f"{at}.{where}"}
    details = [
        detail("t", "S"),
        {"type": "reasoning.encrypted", "data": "E", "format": "openai-responses-v1", "index": 2},
    ]
    where = f"{at}.reasoning_details"
    assert thinking(reasoning_details=details, reasoning_content="t", thinking_blocks=blocks) == [
        Thinking("t", "S", None, CLAUDE, 0, where),
        Thinking("", None, "E", "openai-responses-v1", 2, where),
    ]


def test_pieces_of_a_stream_are_put_together() -> None:
    pieces = [
        detail("a"),
        detail("b"),
        detail("", "S"),
        detail("c", "T", 1),
        detail("d", index=None),
        detail("e", index=None),
    ]
    assert [(b.text, b.signature, b.index) for b in thinking(reasoning_details=pieces)] == [
        ("ab", "S", 0), ("c", "T", 1), ("d", None, None), ("e", None, None),
    ]  # fmt: skip


def test_our_own_marker_is_known_again() -> None:
    [block] = thinking(reasoning_details=[detail("t", marker.mark("t"))])
    assert block.signer == marker.SIGNER


@pytest.mark.parametrize("name", thoughts.PLAIN)
def test_plain_thinking_goes_by_many_names_and_its_signature_beside_it(name: str) -> None:
    at = f"messages[1].{name}"
    assert thinking(**{name: "r"}) == thinking(**{name: {"text": "r"}}) == [Thinking("r", at=at)]
    signed = [Thinking("r", "S", None, CLAUDE, at=at)]
    assert thinking(**{name: {"text": "r", "signature": "S"}}) == signed
    for signature in thoughts.SIGNATURES:
        assert thinking(**{name: "r", signature: "S"}) == signed
        assert thinking(**{signature: "S"}) == []


def test_junk_is_not_thinking() -> None:
    assert (
        thinking(reasoning_details=[3, {"type": "reasoning.text"}, {"data": 1}], reasoning=[], thinking_blocks="x")
        == []
    )
