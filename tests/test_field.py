"""What servers, agents and people really send: the cases of ``cases/field``, each through the library.

A case is as it was found: ``request`` (or ``request_text``), ``answer``, and what must come of it in words
(``expected``). Beside it stands ``check``, the same for a machine; README.md there says what it may hold. An answer is
given whole and byte by byte, and the client must be told the same.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest

from extproc import Refused, Translation

Json = Any
FOLDER = Path(__file__).parent / "cases" / "field"
FILES = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}
CASES = [
    pytest.param(case, id=f"{name}: {case['what']}".encode("ascii", "replace").decode())
    for name, file in FILES.items()
    for case in file["cases"]
]
MESSAGES = "anthropic_messages"
_STEP = re.compile(r"([^.\[\]]+)|\[(-?\d+)\]")
_NOTHING: Json = object()


def translation(case: Json, **members: Json) -> Translation:
    route = {"provider": case["provider"], "auth": "none", **case.get("route", {}), **members}
    return Translation(case["client"], case["upstream"], route=route, now=0, request_id="r")


def body_of(case: Json) -> bytes:
    text = case["request_text"] if "request_text" in case else json.dumps(case["request"])
    return gzip.compress(text.encode()) if case.get("request_encoding") == "gzip" else text.encode()


def headers_of(case: Json) -> list[tuple[str, str]]:
    return [("content-type", "application/json"), *map(tuple, case.get("request_headers", []))]


@pytest.mark.parametrize("case", CASES)
def test_field(case: Json) -> None:
    check = dict(case["check"])
    t = translation(case)
    sent: Json = None
    status, error = 200, None
    try:
        sent = json.loads(t.request(body_of(case), headers=headers_of(case)).body)
    except Refused as refused:
        status, error = refused.status, json.loads(refused.body)["error"]
    if (refusal := check.pop("refused", None)) is not None:
        assert status == refusal.get("status", 400)
        agrees(refusal, {**(error or {}), "status": status})
    else:
        assert error is None, error
    _check_sent(check, sent)
    told: Json = None
    if "answer" in case:
        data, headers = wire(case["answer"])
        told = answer(t, case, data, headers)
        again = translation(case)
        again.request(body_of(case), headers=headers_of(case))
        assert answer(again, case, data, headers, step=1) == told, "where the bytes are cut must not matter"
        _check_told(check, told)
    reported = {str(loss) for loss in t.losses}
    for loss in check.pop("losses", ()):
        assert any(re.fullmatch(loss, each) for each in reported), (loss, reported)
    if (following := check.pop("next", None)) is not None:
        _check_next(following, case, told)
    assert not check, f"nothing checks {sorted(check)}"


# ---- the request


def at(value: Json, path: str) -> Json:
    """What stands at *path* (``messages[0].role``), ``_NOTHING`` if there is nothing."""
    for name, number in _STEP.findall(path):
        try:
            value = value[int(number)] if number else value[name]
        except (KeyError, IndexError, TypeError):
            return _NOTHING
    return value


def _check_sent(check: Json, sent: Json) -> None:
    for path, expected in check.pop("sent", {}).items():
        assert at(sent, path) == expected, (path, sent)
    for path in check.pop("absent", ()):
        assert at(sent, path) in (_NOTHING, None), (path, sent)
    for path, pattern in check.pop("matches", {}).items():
        found = at(sent, path)
        text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
        assert re.search(pattern, text, re.DOTALL), (path, text)


# ---- the answer


def wire(answer_: Json) -> tuple[bytes, list[tuple[str, str]]]:
    """The answer's bytes, and its headers."""
    if "sse" in answer_:
        texts = (each if isinstance(each, str) else f"data: {json.dumps(each)}" for each in answer_["sse"])
        fields = (":", "data:", "event:", "id:", "error:")
        framed = (text if text.startswith(fields) else f"data: {text}" for text in texts)
        data = "".join(f"{text}\n\n" for text in framed).encode()
    elif "text" in answer_:
        data = answer_["text"].encode("utf-8", "surrogatepass")
    else:
        data = json.dumps(answer_["body"]).encode()
    match answer_.get("encode"):
        case "gzip, two members":
            data = gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2 :])
        case "raw deflate":
            made = zlib.compressobj(wbits=-15)
            data = made.compress(data) + made.flush()
    return data, [("content-type", answer_["content_type"]), *map(tuple, answer_.get("headers", []))]


def answer(t: Translation, case: Json, data: bytes, headers: list[tuple[str, str]], step: int | None = None) -> Json:
    """What the client is told, as the client's own API says it and as the checks do."""
    t.response_head(case["answer"].get("status", 200), headers)
    step = step or max(1, len(data))
    out = b"".join(t.response_body(data[i : i + step]) for i in range(0, len(data), step))
    out += t.response_body(b"", end_of_stream=True)
    type_ = dict(t.head.headers)["content-type"]
    told: Json = {"status": t.head.status, "error": None, "content": [], "usage": None, "stop": None, "message": None}
    read = _read_stream if type_.startswith("text/event-stream") else _read_whole
    read(case["client"], out, told)
    if t.failed is None:
        assert t.ended is not None
    else:
        assert told["error"] is not None, "a failure that the client is not told of"
    return told


def _read_whole(client: str, out: bytes, told: Json) -> None:
    body = json.loads(out)
    if "error" in body:
        told["error"] = body["error"]
    elif client == MESSAGES:
        told |= {"message": body, "content": [_short(block) for block in body["content"]]}
        told |= {"stop": body["stop_reason"], "usage": body["usage"]}
    else:
        choice = body["choices"][0]
        told |= {"message": choice["message"], "content": _of_message(choice["message"])}
        told |= {"stop": choice["finish_reason"], "usage": body.get("usage")}


def _read_stream(client: str, out: bytes, told: Json) -> None:
    assert out.endswith(b"\n\n")
    items = [line[6:] for line in out.decode().split("\n") if line.startswith("data: ")]
    if client == MESSAGES:
        _read_messages([json.loads(item) for item in items], told)
    else:
        _read_chat(items, told)


def _read_messages(items: list[Json], told: Json) -> None:
    """As strict as the official SDK, and stricter: one block at a time, and one end."""
    blocks: list[Json] = []
    open_: int | None = None
    for number, item in enumerate(items):
        match item["type"]:
            case "content_block_start":
                assert open_ is None and item["index"] == len(blocks), items
                open_ = item["index"]
                blocks.append({**item["content_block"], "partial": ""})
            case "content_block_delta":
                assert item["index"] == open_, items
                delta = item["delta"]
                for name in ("text", "thinking", "signature"):
                    blocks[-1][name] = blocks[-1].get(name, "") + delta.get(name, "")
                blocks[-1]["partial"] += delta.get("partial_json", "")
            case "content_block_stop":
                assert item["index"] == open_, items
                open_ = None
                if blocks[-1]["type"] == "tool_use":
                    blocks[-1]["input"] = json.loads(blocks[-1]["partial"])
            case "message_delta":
                assert open_ is None
                told |= {"stop": item["delta"]["stop_reason"], "usage": item["usage"]}
            case "error":
                told["error"] = item["error"]
                assert number == len(items) - 1, "something follows an error"
            case "message_stop":
                assert number == len(items) - 1
    if told["error"] is None:
        assert items[-1]["type"] == "message_stop"
    told |= {"message": {"role": "assistant", "content": blocks}, "content": [_short(block) for block in blocks]}


def _read_chat(items: list[str], told: Json) -> None:
    message: Json = {"role": "assistant", "content": "", "reasoning_content": "", "reasoning_details": []}
    calls: dict[int, Json] = {}
    for item in items:
        if item == "[DONE]":
            continue
        chunk = json.loads(item)
        if "error" in chunk:
            told["error"] = chunk["error"]
            continue
        told["usage"] = chunk.get("usage") or told["usage"]
        for choice in chunk["choices"]:
            delta = choice["delta"]
            for name in ("content", "reasoning_content"):
                message[name] += delta.get(name) or ""
            message["reasoning_details"] += delta.get("reasoning_details") or []
            for part in delta.get("tool_calls") or ():
                call = calls.setdefault(part["index"], {"id": part.get("id"), "type": "function", "function": {}})
                for name, text in part["function"].items():
                    call["function"][name] = call["function"].get(name, "") + text
            told["stop"] = choice["finish_reason"] or told["stop"]
    assert (items[-1] == "[DONE]") == (told["error"] is None)
    message["tool_calls"] = list(calls.values())
    message = {name: value for name, value in message.items() if value}
    told |= {"message": message, "content": _of_message(message)}


def _short(block: Json) -> list[Json]:
    match block["type"]:
        case "text":
            return ["text", block["text"]]
        case "thinking":
            return ["thinking", block["thinking"], block["signature"]]
        case "redacted_thinking":
            return ["redacted_thinking", block["data"]]
        case "tool_use":
            return ["tool_use", block["name"], block["input"], block["id"]]
    return [block["type"]]


def _of_message(message: Json) -> list[Json]:
    thinking = [["thinking", message["reasoning_content"]]] if message.get("reasoning_content") else []
    text = [["text", message["content"]]] if message.get("content") else []
    calls = [
        ["tool_use", call["function"]["name"], json.loads(call["function"]["arguments"]), call["id"]]
        for call in message.get("tool_calls") or ()
    ]
    return [*thinking, *text, *calls]


def _check_told(check: Json, told: Json) -> None:
    error = check.pop("error", None)
    assert (error is None) == (told["error"] is None), told
    if error is not None:
        agrees(error, {**told["error"], "status": told["status"]})
    blank = [["text", each[1]] for each in told["content"] if each[0] == "text" and not each[1].strip()]
    found = [each for each in told["content"] if each[:2] not in blank]
    for expected in (check.pop("content"),) if "content" in check else ():
        assert [each[: len(wanted)] for each, wanted in zip(found, expected, strict=True)] == expected
    if "stop" in check:
        assert told["stop"] == check.pop("stop")
    if "usage" in check:
        agrees(check.pop("usage"), told["usage"])
    if "status" in check:
        assert told["status"] == check.pop("status")
    for path, pattern in check.pop("told", {}).items():
        value = at(told, path)
        assert re.search(pattern, value if isinstance(value, str) else json.dumps(value)), (path, told)


def agrees(expected: Json, found: Json) -> None:
    """Each member that is expected is there; a text that ends with ``...`` is a beginning, ``a|b`` are both allowed."""
    for name, value in expected.items():
        if isinstance(value, str) and value.endswith("..."):
            assert str(found.get(name)).startswith(value[:-3]), found
        elif isinstance(value, list):
            assert found.get(name) in value, found
        else:
            assert found.get(name) == value, found


# ---- what the client sends next


def _check_next(following: Json, case: Json, told: Json) -> None:
    """The conversation goes on: the answer as the client keeps it, results of its calls, or a word of the user's."""
    messages, message = case["request"]["messages"], told["message"]
    results: list[Json] = []
    if case["client"] == MESSAGES:
        content = [{k: v for k, v in block.items() if k != "partial"} for block in message["content"]]
        content = [{k: v for k, v in block.items() if v != "" or k == "text"} for block in content]
        uses = [block["id"] for block in content if block["type"] == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": id_, "content": "ok"} for id_ in uses]
        turn = {"role": "user", "content": results or "go on"}
        messages = [*messages, {"role": "assistant", "content": content}, turn]
    else:
        uses = [call["id"] for call in message.get("tool_calls") or ()]
        results = [{"role": "tool", "tool_call_id": id_, "content": "ok"} for id_ in uses]
        messages = [*messages, message, *(results or [{"role": "user", "content": "go on"}])]
    to = {**case, **{name: following.pop(name) for name in ("provider", "route", "upstream") if name in following}}
    if "provider" in to and to["provider"] != case["provider"]:
        to.pop("route", None)
    t = translation(to)
    body = {**case["request"], "messages": messages, "model": following.pop("model", case["request"]["model"])}
    sent = json.loads(t.request(json.dumps(body).encode(), headers=headers_of(case)).body)
    _check_sent(following, sent)
    reported = {str(loss) for loss in t.losses}
    for loss in following.pop("losses", ()):
        assert any(re.fullmatch(loss, each) for each in reported), (loss, reported)
    for text in following.pop("nowhere", ()):
        assert text not in json.dumps(sent), sent
    assert not following, f"nothing checks {sorted(following)}"


def test_every_case_says_what_it_is_and_what_must_come_of_it() -> None:
    assert FILES
    for name, file in FILES.items():
        assert name.endswith(file["kind"]) and file["rule"] and file["sources"] is not None
        for case in file["cases"]:
            assert case["expected"] and case["check"], (name, case["what"])


def test_every_file_that_is_left_out_is_named() -> None:
    """The kinds are numbered without a gap: a file is here, or README.md says where it went."""
    about = (FOLDER / "README.md").read_text("utf-8")
    numbers = [name for file in FILES if (name := file.partition("-")[0])]
    assert len(numbers) == len(set(numbers))
    for name in re.findall(r"^- `([bg]?\d\d)`", about, re.MULTILINE):
        assert name not in numbers, f"{name} is here, and README.md says that it is not"
