"""A scripted provider's Vertex AI side, where Claude is: the Messages API, whose model stands in the path."""

from __future__ import annotations

import re

import msgspec

from extproc.demo.provider import Received, ScriptedAnswer, json_answer

from . import as_claude

PLACE = "/v1/projects/ours/locations/us-east5/publishers/anthropic/models"
_PLACE = re.compile(r"/v1/projects/[\w-]+/locations/[\w-]+/publishers/anthropic/models")


def answer(request: Received) -> ScriptedAnswer:
    """The answer to a *request* of rawPredict, whole or streamed, or of count-tokens."""
    body = request.json()
    assert body["anthropic_version"] in ("vertex-2023-10-16", "2026-10-21")
    stem, _, verb = request.path.rpartition(":")
    place, _, model = stem.rpartition("/")
    assert _PLACE.fullmatch(place), request.path
    if (model, verb) == ("count-tokens", "rawPredict"):
        return json_answer({"input_tokens": 31}) if "model" in body else json_answer({"error": {"code": 400}}, 400)
    assert "model" not in body
    assert (verb == "streamRawPredict") is bool(body.get("stream"))
    members = {name: value for name, value in body.items() if name != "anthropic_version"}
    members["model"] = model
    own = [pair for pair in request.headers if pair[0] != "anthropic-version"]
    headers = (*own, ("anthropic-version", "2023-06-01"), ("x-api-key", "k"))
    return as_claude.answer(Received("POST", "/v1/messages", headers, msgspec.json.encode(members)))
