"""The conformance cases, each through the library as a user would call it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from extproc import Refused, Translation
from extproc.llm.losses import Loss

Json = Any
FILES = [Path(__file__).parent / "cases" / name for name in ("core.json", "responses.json")]
CASES: list[dict[str, Json]] = [case for path in FILES for case in json.loads(path.read_text("utf-8"))]
DIALECT = {"chat": "openai_chat", "messages": "anthropic_messages", "responses": "openai_responses"}
MARKER = re.compile(r"gw1\.[A-Za-z0-9_-]{16,}\Z")
ANY_REQUEST: dict[str, dict[str, Json]] = {
    "openai_chat": {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "hi"}]},
    "anthropic_messages": {"model": "gpt-4o", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]},
}


def of_kind(*kinds: str) -> list[Any]:
    return [pytest.param(case, id=str(case["id"])) for case in CASES if case["kind"] in kinds]


def translation(case: dict[str, Json], **quirks: Json) -> Translation:
    client, upstream = (DIALECT[side] for side in case["dir"].split(">"))
    quirks |= {"efforts": case["cfg"]["efforts"]} if "efforts" in case.get("cfg", {}) else {}
    provider = "anthropic" if upstream == "anthropic_messages" else "openai"
    return Translation(client, upstream, route={"provider": provider, "auth": "none", "quirks": quirks}, now=0)


def sent(t: Translation, body: Json) -> Json:
    return json.loads(t.request(json.dumps(body).encode(), headers=[("content-type", "application/json")]).body)


def reported(losses: list[Loss] | Any) -> set[str]:
    return {str(loss) for loss in losses}


# ---- requests


@pytest.mark.parametrize("case", of_kind("request"))
def test_request(case: dict[str, Json]) -> None:
    t = translation(case)
    if "status" not in case["out"]:
        assert sent(t, case["in"]) == case["out"]
        assert reported(t.losses) == set(case["report"])
        return
    with pytest.raises(Refused) as refused:
        sent(t, case["in"])
    assert refused.value.status == case["out"]["status"]
    assert json.loads(refused.value.body) == case["out"]["body"]


TOOL_F = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
HISTORY = [
    {"type": "thinking", "thinking": "why", "signature": "S"},
    {"type": "redacted_thinking", "data": "RED"},
    {"type": "text", "text": "a"},
    {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
]


def matrix_request(case: dict[str, Json], row: Json) -> tuple[Json, dict[str, Json]]:
    """The request that a row of a matrix stands for, and the quirks of its upstream."""
    chat = {"model": "claude-sonnet-4-5", "max_completion_tokens": 4096, "messages": [{"role": "user", "content": "q"}]}
    messages = {"model": "gpt-4o", "max_tokens": 4096, "messages": [{"role": "user", "content": "q"}]}
    match case["id"]:
        case 16:
            return chat | {"tools": [TOOL_F], "tool_choice": row[0]} | (row[1] if len(row) > 1 else {}), {}
        case 30:
            return chat | {"model": row[0], "reasoning_effort": row[1]}, {}
        case 36:
            turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": row[1]}]
            return chat | {"model": row[0], "messages": turns}, {}
        case 58:
            fields = {"openai": "none", "deepseek": "reasoning_content", "vllm": "reasoning"}
            result = [{"type": "tool_result", "tool_use_id": "t1", "content": "x"}]
            turns = [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": HISTORY},
                {"role": "user", "content": result},
            ]
            tools = [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]
            quirk = {"reasoning_field": fields.get(row, "reasoning_details")}
            return messages | {"messages": turns, "tools": tools}, quirk
        case 61:
            thinking = {} if row is None else {"thinking": row}
            return messages | {"model": "gpt-5.1", "max_tokens": 64000} | thinking, {}
        case 64:
            return messages | {"max_tokens": row}, {"max_output": 16384}
    raise AssertionError(case["id"])


def matrix_rows(kind: str) -> list[Any]:
    cases = [case for case in CASES if case["kind"] == kind]
    return [
        pytest.param(case, row, out, id=f"{case['id']}-{n}")
        for case in cases
        for n, (row, out) in enumerate(zip(case["in"], case["out"], strict=True))
    ]


@pytest.mark.parametrize(("case", "row", "out"), matrix_rows("request-matrix"))
def test_request_matrix(case: dict[str, Json], row: Json, out: Json) -> None:
    body, quirks = matrix_request(case, row)
    t = translation(case, **quirks)
    if isinstance(out, dict) and "status" in out:
        with pytest.raises(Refused) as refused:
            sent(t, body)
        error = json.loads(refused.value.body)["error"]
        assert refused.value.status == out["status"]
        assert error.get("param") == out.get("param")
        assert error["type"] == out.get("type", "invalid_request_error")
        return
    got = sent(t, body)
    match case["id"]:
        case 16:
            assert got["tool_choice"] == out
        case 58:
            answer = got["messages"][1]
            assert {k: v for k, v in answer.items() if k.startswith("reasoning")} == (out if "drop" not in out else {})
            assert "thinking" not in json.dumps(answer)
        case 61:
            assert got.get("reasoning_effort") == out
            assert "thinking" not in got
        case _:
            expected = {k: v for k, v in out.items() if k != "report"}
            names = set(expected) | ({"thinking", "output_config"} if case["id"] == 30 else set())
            assert {k: v for k, v in got.items() if k in names} == expected
            # That trailing blanks of a prefill are cut is said since: cases/field/b22.
            cut = {"messages[1]:rewritten"} if case["id"] == 36 and "report" not in out else set()
            assert reported(t.losses) == set(out.get("report", cut))


# ---- whole responses


def answered(t: Translation, body: Json, status: int = 200, headers: dict[str, str] | None = None) -> Json:
    """The client's whole answer."""
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    t.response_head(status, list(({"content-type": "application/json"} | (headers or {})).items()))
    return json.loads(t.response_body(raw, end_of_stream=True))


def asked(case: dict[str, Json], **members: Json) -> Translation:
    t = translation(case)
    sent(t, {**ANY_REQUEST[DIALECT[case["dir"].split(">")[0]]], **members})
    return t


@pytest.mark.parametrize("case", of_kind("response"))
def test_response(case: dict[str, Json]) -> None:
    t = asked(case)
    got = answered(t, case["in"])
    for block in got.get("content") or []:
        if isinstance(block, dict) and MARKER.match(block.get("signature", "")):
            block["signature"] = "$GWSIG"
    if case["id"] == 47:
        assert got["choices"][0].pop("stop_reason") == "END"  # an extension that the case allows
    assert got == case["out"]
    assert t.head.status == 200
    assert ("content-type", "application/json") in t.head.headers


def messages_body(stop_reason: str | None) -> Json:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {}} if stop_reason == "tool_use" else None
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": stop_reason,
        "content": [block or {"type": "text", "text": "a"}], "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip


def chat_body(finish_reason: str | None, what: str) -> Json:
    call = {"name": "f", "arguments": "{}"}
    message: dict[str, Json] = {"role": "assistant", "content": "a"}
    choice: dict[str, Json] = {"index": 0, "finish_reason": finish_reason, "message": message}
    if what == "tool_calls":
        message |= {"content": None, "tool_calls": [{"id": "c", "type": "function", "function": call}]}
    elif what == "empty list":
        message["tool_calls"] = []
    elif what == "refusal":
        message |= {"content": None, "refusal": "No."}
    elif what == "function_call":
        message |= {"content": None, "function_call": call}
    elif "stop_reason" in what:
        choice["stop_reason"] = "END"
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


@pytest.mark.parametrize(("case", "row", "out"), matrix_rows("response-matrix"))
def test_response_matrix(case: dict[str, Json], row: Json, out: str) -> None:
    if case["id"] == 44:
        assert answered(asked(case), messages_body(row))["choices"][0]["finish_reason"] == out
        return
    got = answered(asked(case, stop_sequences=["END"]), chat_body(*row))
    assert got["stop_reason"] == out
    assert got["stop_sequence"] == ("END" if out == "stop_sequence" else None)
    if out == "refusal":
        explanation = "No." if row[1] == "refusal" else None
        assert got["stop_details"] == {"type": "refusal", "category": None, "explanation": explanation}


# ---- streams


def wire(dialect: str, items: list[Json]) -> bytes:
    """A stream of *dialect* as its server would write it."""
    if dialect == "anthropic_messages":
        return b"".join(f"event: {event}\ndata: {json.dumps(data)}\n\n".encode() for event, data in items)
    texts = (item if isinstance(item, str) else json.dumps(item) for item in items)
    return b"".join(f"data: {text}\n\n".encode() for text in texts)


def unwire(dialect: str, data: bytes) -> list[Json]:
    """A stream as the case writes it, without pings and comments."""
    items: list[Json] = []
    assert data.endswith(b"\n\n")
    for block in data.decode().split("\n\n")[:-1]:
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        if "data" not in lines:
            continue
        value: Json = lines["data"] if lines["data"] == "[DONE]" else json.loads(lines["data"])
        if dialect == "anthropic_messages":
            if lines["event"] != "ping":
                assert lines["event"] == value["type"]
                items.append([lines["event"], value])
        else:
            items.append(value)
    return joined(items) if dialect == "anthropic_messages" else items


def joined(items: list[Json]) -> list[Json]:
    """Neighbouring tool input fragments of one block as one; our own signature by its name."""
    out: list[Json] = []
    value: dict[str, Json]
    for event, value in items:
        delta = value.get("delta", {})
        if delta.get("type") == "signature_delta" and MARKER.match(delta["signature"]):
            delta["signature"] = "$GWSIG"
        last = out[-1][1] if out else {}
        if delta.get("type") == "input_json_delta" and last.get("delta", {}).get("type") == "input_json_delta":
            last["delta"]["partial_json"] += delta["partial_json"]
        else:
            out.append([event, value])
    return out


def run_stream(case: dict[str, Json], data: bytes, step: int | None = None) -> list[Json]:
    client = DIALECT[case["dir"].split(">")[0]]
    options: dict[str, Json] = {"stream": True}
    if case.get("cfg", {}).get("include_usage"):
        options["stream_options"] = {"include_usage": True}
    t = asked(case, **options)
    t.response_head(200, [("content-type", "text/event-stream")])
    assert not t.whole
    assert t.head.status == 200
    step = step or len(data)
    out = b"".join(t.response_body(data[i : i + step]) for i in range(0, len(data), step))
    out += t.response_body(b"", end_of_stream=True)
    assert t.response_body(b"", end_of_stream=True) == b""
    return unwire(client, out)


def stream_variants(case: dict[str, Json]) -> list[tuple[list[Json], list[Json]]]:
    if isinstance(case["in"], dict):
        return [(case["in"][key], case["out"][key]) for key in case["in"]]
    return [(case["in"], case["out"])]


@pytest.mark.parametrize("case", of_kind("stream"))
def test_stream(case: dict[str, Json]) -> None:
    client, upstream = (DIALECT[side] for side in case["dir"].split(">"))
    for source, expected in stream_variants(case):
        got = run_stream(case, wire(upstream, source))
        if case["id"] == 52:
            assert got[-2]["choices"][0].pop("native_finish_reason") == "pause_turn"  # an extension of the map
        assert got == (joined(expected) if client == "anthropic_messages" else expected)


@pytest.mark.parametrize("case", of_kind("stream-bytes"))
@pytest.mark.parametrize("step", [1, 7, None])
def test_stream_bytes(case: dict[str, Json], step: int | None) -> None:
    client = DIALECT[case["dir"].split(">")[0]]
    expected = joined(case["out"]) if client == "anthropic_messages" else case["out"]
    assert run_stream(case, case["in"].encode(), step) == expected


# ---- errors


@pytest.mark.parametrize(("case", "row", "out"), matrix_rows("error-matrix"))
def test_error(case: dict[str, Json], row: Json, out: Json) -> None:
    t = asked(case)
    body = answered(t, row["body"], row["status"], row["headers"])
    assert t.head.status == out["status"]
    assert set(out["headers"].items()) <= set(t.head.headers)
    assert body == out["body"]
