"""Time grows with the length of what policies look at and change, whatever a client makes long, and where its own API
is the upstream's: there a change is made in the client's own body."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from extproc import Translation
from tests.fuzz.targets import PATHS, POLICIES, translation

from .growth import grows_with_its_length
from .long_requests import Made
from .test_linear import BASE, MODELS
from .test_linear_lists import asking

Json = Any
CHAT, MESSAGES, RESPONSES, GEMINI, CONVERSE = PATHS
CHANGING = [
    {"redact": {"recognisers": ["email"], "restore": True}},
    {"prompt_decorator": {"prepend": [{"role": "system", "content": "s"}]}},
    {"tool_filter": {"deny": ["f*"], "rename": {"g": "h"}}},
]
"""Without a bound on tools."""
MAIL = "write to a@example.com"


def mail(i: int) -> str:
    return f"write to a{i}@example.com"


def chat_call(i: int, given: Json) -> Json:
    return {"id": f"t{i}", "type": "function", "function": {"name": "g", "arguments": json.dumps(given)}}


def chat_tool(i: int, **members: Json) -> Json:
    return {"type": "function", "function": {"name": f"f{i}"}, **members}


CASES: dict[str, dict[str, Made]] = {
    CHAT: {
        "messages": lambda n: {"messages": [{"role": "user", "content": mail(i)} for i in range(n)]},
        "the same mail": lambda n: {"messages": [{"role": "user", "content": MAIL}] * n},
        # Two members say it, and none of them is known to be the text: each message is written anew.
        "said twice": lambda n: {"messages": [{"role": "user", "content": mail(i), "text": mail(i)} for i in range(n)]},
        "late systems, said twice": lambda n: {
            "messages": [{"role": "user", "content": "hi"}]
            + [{"role": "system", "content": mail(i), "text": mail(i)} for i in range(n)]
        },
        "parts": lambda n: {
            "messages": [{"role": "user", "content": [{"type": "text", "text": mail(i)} for i in range(n)]}]
        },
        "parts, said twice": lambda n: {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": mail(i), "refusal": mail(i)} for i in range(n)]}
            ],
            "tools": [chat_tool(i) for i in range(n // 4)],
        },
        "members of a message": lambda n: {
            "messages": [{"role": "user", "content": MAIL, **{f"m{i}": {"a": {"b": MAIL}} for i in range(n)}}]
        },
        "mails of one text": lambda n: {"messages": [{"role": "user", "content": " ".join(map(mail, range(n)))}]},
        "calls": lambda n: {
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "tool_calls": [chat_call(i, {"a": mail(i)}) for i in range(n)]},
                *({"role": "tool", "tool_call_id": f"t{i}", "content": mail(i)} for i in range(n)),
            ]
        },
        "values of an input": lambda n: {
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "tool_calls": [chat_call(0, {"a": [mail(i) for i in range(n)]})]},
                {"role": "tool", "tool_call_id": "t0", "content": "r"},
            ]
        },
        "tools": lambda n: {"tools": [chat_tool(i) for i in range(n)], "tool_choice": "required"},
        "renamed tools": lambda n: {"tools": [{"type": "function", "function": {"name": "g"}}] * n},
        "renamed tools, said twice": lambda n: {
            "tools": [{"type": "function", "name": "g", "function": {"name": "g"}}] * n,
            "response_format": {"type": "json_schema", "json_schema": {
                "name": "n", "schema": {"type": "object", "properties": {f"p{i}": {} for i in range(n)}}
            }},
        },
    },
    MESSAGES: {
        "messages": lambda n: {"messages": [{"role": "user", "content": mail(i)} for i in range(n)]},
        "system": lambda n: {"system": [{"type": "text", "text": mail(i)} for i in range(n)]},
        "said twice": lambda n: {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": mail(i), "content": mail(i)}]} for i in range(n)
            ],
            "tools": [{"name": f"h{i}", "input_schema": {"type": "object"}} for i in range(n // 4)],
        },
        "results": lambda n: {
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": [
                    {"type": "tool_use", "id": f"t{i}", "name": "g", "input": {"a": mail(i)}} for i in range(n)
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": f"t{i}", "content": mail(i)} for i in reversed(range(n))
                ]},
            ]
        },
        "blocks of a result": lambda n: {
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "g", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [
                    {"type": "text", "text": mail(i)} for i in range(n)
                ]}]},
            ]
        },
        "tools": lambda n: {"tools": [{"name": f"f{i}", "input_schema": {"type": "object"}} for i in range(n)]},
    },
    RESPONSES: {
        "items": lambda n: {"input": [{"role": "user", "content": mail(i)} for i in range(n)]},
        "said twice": lambda n: {
            "input": [{"role": "user", "content": mail(i), "text": mail(i)} for i in range(n)],
            "tools": [{"type": "function", "name": f"h{i}", "parameters": {"type": "object"}} for i in range(n // 4)],
        },
        "parts": lambda n: {
            "input": [{"role": "user", "content": [{"type": "input_text", "text": mail(i)} for i in range(n)]}]
        },
        "calls": lambda n: {
            "input": [
                {"role": "user", "content": "hi"},
                *({"type": "function_call", "call_id": f"t{i}", "name": "g", "arguments": json.dumps({"a": mail(i)})}
                  for i in range(n)),
                *({"type": "function_call_output", "call_id": f"t{i}", "output": mail(i)} for i in reversed(range(n))),
            ]
        },
        "thoughts": lambda n: {
            "input": [
                {"role": "user", "content": "hi"},
                *({"type": "reasoning", "id": f"r{i}", "summary": [{"type": "summary_text", "text": mail(i)}]}
                  for i in range(n)),
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
                {"role": "user", "content": "hi"},
            ]
        },
        "tools": lambda n: {"tools": [{"type": "function", "name": f"f{i}"} for i in range(n)]},
        "developers": lambda n: {
            "input": [{"role": "user", "content": "hi"}] + [{"role": "developer", "content": mail(i)} for i in range(n)]
        },
    },
    GEMINI: {
        "contents": lambda n: {"contents": [{"role": "user", "parts": [{"text": mail(i)}]} for i in range(n)]},
        "parts": lambda n: {"contents": [{"role": "user", "parts": [{"text": mail(i)} for i in range(n)]}]},
        "said twice": lambda n: {
            "contents": [{"role": "user", "parts": [{"text": mail(i), "content": mail(i)}]} for i in range(n)],
            "tools": [{"functionDeclarations": [{"name": f"h{i}"} for i in range(n // 4)]}],
        },
        "system": lambda n: {"systemInstruction": {"parts": [{"text": mail(i)} for i in range(n)]}},
        # Each holds others, and is one itself.
        "searches beside functions": lambda n: {
            "tools": [
                {"googleSearch": {}, "functionDeclarations": [{"name": f"f{i}"}, {"name": f"h{i}"}]} for i in range(n)
            ]
        },
        "calls": lambda n: {
            "contents": [
                {"role": "user", "parts": [{"text": "hi"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "g", "args": {"a": mail(i)}}} for i in range(n)]},
                {"role": "user", "parts": [
                    {"functionResponse": {"name": "g", "response": {"r": mail(i)}}} for i in range(n)
                ]},
            ]
        },
    },
    CONVERSE: {
        "messages": lambda n: {"messages": [{"role": "user", "content": [{"text": mail(i)}]} for i in range(n)]},
        "blocks": lambda n: {"messages": [{"role": "user", "content": [{"text": mail(i)} for i in range(n)]}]},
        "said twice": lambda n: {
            "messages": [{"role": "user", "content": [{"text": mail(i), "content": mail(i)}]} for i in range(n)],
            "toolConfig": {"tools": [
                {"toolSpec": {"name": f"h{i}", "inputSchema": {"json": {"type": "object"}}}} for i in range(n // 4)
            ]},
        },
        "system": lambda n: {"system": [{"text": mail(i)} for i in range(n)]},
        "results": lambda n: {
            "messages": [
                {"role": "user", "content": [{"text": "hi"}]},
                {"role": "assistant", "content": [
                    {"toolUse": {"toolUseId": f"t{i}", "name": "g", "input": {"a": mail(i)}}} for i in range(n)
                ]},
                {"role": "user", "content": [
                    {"toolResult": {"toolUseId": f"t{i}", "content": [{"text": mail(i)}]}} for i in reversed(range(n))
                ]},
            ]
        },
        "tools": lambda n: {"toolConfig": {"tools": [
            {"toolSpec": {"name": f"f{i}", "inputSchema": {"json": {"type": "object"}}}} for i in range(n)
        ]}},
    },
}  # fmt: skip
TRIED = [
    pytest.param(client, upstream, make, id=f"{client}-{upstream}-{name}")
    for client, cases in CASES.items()
    for place, (name, make) in enumerate(cases.items())
    for upstream in (client, list(CASES)[(place + list(CASES).index(client)) % len(CASES)])
]


@pytest.mark.parametrize(("client", "upstream", "make"), TRIED)
def test_time_grows_with_what_policies_change(client: str, upstream: str, make: Made) -> None:
    grows_with_its_length(lambda n: asking(client, upstream, {**BASE[client], **make(n)}, MODELS, policies=CHANGING))


def test_time_grows_with_texts_to_embed() -> None:
    def ask(n: int) -> Callable[[], object]:
        data = json.dumps({"model": "m", "input": [mail(i) for i in range(n)]}).encode()
        policies = [each for each in POLICIES if "tool_filter" not in each]
        route = {"provider": "openai", "auth": "none", "policies": policies}
        return lambda: Translation(route=route, now=1.0).request(data, "POST", "/v1/embeddings", [])

    grows_with_its_length(ask)


PLACEHOLDER = "[EMAIL_1]"
SEARCHED = {"type": "url_citation", "url_citation": {"start_index": 1, "end_index": 9, "title": "t", "url": "u"}}


def chunk(delta: Json, finish: str | None = None) -> bytes:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
             "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}  # fmt: skip
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


ANSWERS: dict[str, Callable[[int], bytes]] = {
    "placeholders and citations": lambda n: b"".join(
        [chunk({"content": PLACEHOLDER})] * n + [chunk({"annotations": [SEARCHED]})] * n + [chunk({}, "stop")]
    ),
    "placeholders of one text": lambda n: chunk({"content": PLACEHOLDER * n}) + chunk({}, "stop"),
    "brackets": lambda n: b"".join([chunk({"content": "["})] * n + [chunk({}, "stop")]),
    "thoughts and texts in turn": lambda n: b"".join(
        [chunk({"reasoning_content": PLACEHOLDER}), chunk({"content": PLACEHOLDER})] * n + [chunk({}, "stop")]
    ),
}


@pytest.mark.parametrize("client", [CHAT, MESSAGES, RESPONSES])
@pytest.mark.parametrize("make", ANSWERS.values(), ids=list(ANSWERS))
def test_time_grows_with_an_answer_that_policies_change(client: str, make: Callable[[int], bytes]) -> None:
    asked = {**BASE[client], "model": "gpt-4o", "stream": True}
    asked |= {"input": MAIL} if client == RESPONSES else {"messages": [{"role": "user", "content": MAIL}]}

    def answered(n: int) -> Callable[[], object]:
        data = make(n) + b"data: [DONE]\n\n"

        def run() -> object:
            t = translation(CHAT, policies=POLICIES)
            t.request(json.dumps(asked).encode(), "POST", PATHS[client], [])
            t.response_head(200, [("content-type", "text/event-stream")])
            out = [t.response_body(data[at : at + 16384]) for at in range(0, len(data), 16384)]
            out.append(t.response_body(b"", True))
            assert b"a@example.com" in b"".join(out) or b"[" in b"".join(out)
            return out

        return run

    grows_with_its_length(answered)


def test_every_api_is_here() -> None:
    assert set(CASES) == set(PATHS)
