"""A scripted provider's Gemini side: ``generateContent``, whole and streamed, as strict with signatures as Google."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import msgspec

from extproc.demo.provider import Received, ScriptedAnswer, json_answer, sse_answer
from extproc.demo.script import Said, decide, pieces

_encode = msgspec.json.encode
SIGNATURE = "CiQB0e2Kb1/+AA=="
"""On the first call of each answer; a request without it, in a history, is refused."""


def answer(request: Received) -> ScriptedAnswer:
    """The answer to a *request* of the Gemini API."""
    path, _, query = request.path.partition("?")
    body = request.json()
    if path.endswith(":countTokens"):
        return json_answer({"totalTokens": 31})
    contents = body["contents"]
    for i, content in enumerate(contents):
        calls = [part for part in content["parts"] if "functionCall" in part]
        if calls and not calls[0].get("thoughtSignature"):
            return failure(400, f"Function call is missing a thought_signature in contents.{i}")
    said = decide(*_asked(body))
    model = unquote(path.rpartition("/")[2].partition(":")[0])
    if not path.endswith(":streamGenerateContent"):
        return json_answer(_response(_parts(said), model, "STOP"))
    parts = _parts(said, streamed=True)
    messages = [_response([part], model, None) for part in parts] + [_response([{"text": ""}], model, "STOP")]
    if "alt=sse" in query:
        return sse_answer([b"data: " + _encode(message) + b"\r\n\r\n" for message in messages])
    whole = b"[" + b",\r\n".join(map(_encode, messages)) + b"]"
    return ScriptedAnswer([whole[:20], whole[20:]], headers=(("content-type", "application/json; charset=UTF-8"),))


def failure(code: int, message: str, status: str = "INVALID_ARGUMENT", *details: Any) -> ScriptedAnswer:
    """An error in Google's shape."""
    return json_answer({"error": {"code": code, "message": message, "status": status, "details": details}}, code)


def _asked(body: dict[str, Any]) -> tuple[str, list[str], list[str], str | None]:
    """The question, the functions offered, the results since the last turn of the model, the one it must call."""
    contents = body["contents"]
    parts = contents[-1]["parts"]
    results = [
        str(response.get("output", response))
        for part in parts
        if (response := part.get("functionResponse", {}).get("response")) is not None
    ]
    texts = [part["text"] for content in contents if content["role"] == "user" for part in content["parts"]
             if "text" in part]  # fmt: skip
    names = [each["name"] for group in body.get("tools") or [] for each in group.get("functionDeclarations", [])]
    config = body.get("toolConfig", {}).get("functionCallingConfig", {})
    allowed = config.get("allowedFunctionNames") or names
    forced = allowed[0] if config.get("mode") == "ANY" else None
    return texts[-1] if texts else "", [] if config.get("mode") == "NONE" else names, results, forced


def _parts(said: Said, *, streamed: bool = False) -> list[dict[str, Any]]:
    texts = pieces(said.text) if streamed else [said.text] if said.text else []
    parts: list[dict[str, Any]] = [{"text": text} for text in texts]
    for position, (n, name, given) in enumerate(said.calls):
        part: dict[str, Any] = {"functionCall": {"id": f"fc-{n}", "name": name, "args": given}}
        parts.append(part | ({"thoughtSignature": SIGNATURE} if position == 0 else {}))
    return parts


def _response(parts: list[dict[str, Any]], model: str, finish: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    usage = {"promptTokenCount": 11, "candidatesTokenCount": 5, "thoughtsTokenCount": 2, "totalTokenCount": 18}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model, "responseId": "resp-1"}
