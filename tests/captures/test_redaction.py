"""A redacted capture: nothing of what was said, and it translates as before."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.captures.again import body_of
from extproc.captures.differences import replayed
from extproc.captures.redaction import redacted, redacted_text, redacted_value, unreadable
from tests.captures.exchanges import APIS, ASKED, PLAIN, RECORDED, exchange, golden, streamed
from tests.support.exchanges import CHAT, MESSAGES

SAID = "Zanzibar"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Be kind, 2 times!", "xx xxxx, 1 xxxxx!"), ("\u00e9\u4e2d", "xx"), ("-1.25e10", "-1.11e11"),
        ('{"a": true, "b', '{"x": true, "x'), ("\\n\\u00e9a", "\\n\\u00e9x"), ("https://a.b/c", "https://x.x/x"),
        ("data:image/png;base64,iVBOR=", "data:image/png;base64,xxxxx="), ("", ""),
    ],
)  # fmt: skip
def test_the_shape_alone_stays(text: str, shown: str) -> None:
    assert unreadable(text) == shown and unreadable(shown) == shown


@given(st.text())
def test_no_text_is_readable_and_its_length_stays(text: str) -> None:
    plain = unreadable(text)
    assert len(plain) == len(text) and unreadable(plain) == plain
    if not re.search(r"[\\\\/:]|true|false|null|[0-9][eE]", text):
        assert set(filter(str.isalnum, plain)) <= {"x", "1"}


@pytest.mark.parametrize(
    "value",
    [
        {"messages": [{"role": "user", "name": SAID, "content": SAID}]},
        {"content": [{"type": "tool_use", "name": "f", "input": {"name": SAID, "type": SAID, "deep": [{"id": SAID}]}}]},
        {"function": {"name": "f", "arguments": json.dumps({"name": SAID, "code": SAID})}},
        {"functionCall": {"name": "f", "args": {"status": SAID}}},
        {"functionResponse": {"name": "f", "response": {"role": SAID}}},
        {"document": {"name": SAID, "format": "pdf"}}, {"metadata": {"user_id": SAID, "id": SAID}}, {"user": SAID},
        {"unheard_of": SAID}, {"type": f"two {SAID}"}, {"input": {f"{SAID}@x.y": 1}}, [SAID], SAID,
    ],
    ids=str,
)  # fmt: skip
def test_nothing_that_was_said_stays_wherever_it_stands(value: Any) -> None:
    assert SAID not in json.dumps(redacted_value(value))
    assert SAID not in redacted_text(f"event: x\ndata: {json.dumps(value)}\n\n: {SAID}\n\nid: {SAID}\n\n{SAID}")


def test_what_an_api_is_made_of_stays() -> None:
    value = {
        "model": "gpt-5.4-mini", "stream": True, "temperature": 0.5, "tool_choice": "auto",
        "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": {
            "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}],
        "messages": [{"role": "tool", "tool_call_id": "call_1"}],
    }  # fmt: skip
    assert redacted_value(value) == value
    assert redacted_value({"input": {"n": 42, "f": 2.5, "t": True}}) == {"input": {"n": 11, "f": 1.1, "t": True}}
    assert redacted_text("data: [DONE]\n\n") == "data: [DONE]\n\n"


def asked_of(client: str) -> dict[str, Any]:
    text: dict[str, Any] = json.loads(json.dumps(PLAIN[client]).replace("the question", f"{SAID}, what is 7?"))
    return text


@pytest.mark.parametrize(("client", "upstream"), list(itertools.product(APIS, RECORDED)))
def test_a_redacted_exchange_translates_as_the_original_does(client: str, upstream: str) -> None:
    whole = streamed(client, upstream, asked_of(client), [golden(upstream)])
    shown = redacted(whole)
    assert SAID in json.dumps(whole) and SAID not in json.dumps(shown)
    assert [what for what, differs in replayed(shown, redacted=True) if differs] == []


def test_a_conversation_with_tools_and_a_route_of_many_words() -> None:
    route = {
        "policies": [{"prompt_decorator": {"prepend": [{"role": "system", "content": SAID}]}}],
        "override": {"endpoint": f"https://{SAID}.example/v1"},
        "options": {"temperature": 0.5, "verbosity": f"{SAID} high"},
    }
    whole = exchange(
        MESSAGES, CHAT, ASKED, [b'{"error": {"message": "Zanzibar", "type": "x"}}'], status=500, route=route
    )
    whole["llm_request"] = whole["llm_summary"] = {"end_user_id": SAID}
    whole["course"]["request"]["path"] += f"?beta=true&who={SAID}"
    shown = redacted(whole)
    assert SAID not in json.dumps(shown) and SAID.lower() not in json.dumps(shown)
    assert [what for what, differs in replayed(shown, redacted=True) if differs] == []
    assert body_of(shown, "upstream", "request")
