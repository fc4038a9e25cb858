"""A text alone in a list means what the text means, and clients change from one to the other between two requests,
where they move a cache mark, say. Upstreams see the same bytes, whose template or cache may go by them; but for the
Messages API, which defines a text as short for the list: there what the client chose stays, and its blocks are the
same.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from extproc import Call, Translation

Json = Any
UPSTREAMS = {
    "openai_chat": "openai-compatible",
    "anthropic_messages": "anthropic",
    "anthropic_bedrock": "bedrock-anthropic",
    "openai_responses": "openai",
    "gemini": "gemini",
    "bedrock_converse": "bedrock",
}
SCHEMA: Json = {"type": "object", "properties": {}}
PATHS = {"gemini": "/v1beta/models/m:generateContent", "bedrock_converse": "/model/m/converse"}


def forms(client: str) -> Iterator[Json]:
    """One conversation, each of its texts in each of the forms that the API has for it."""
    for system, user, said, result in itertools.product([False, True], repeat=4):

        def text(listed: bool, words: str, kind: str = "text") -> Json:
            return [{"type": kind, "text": words}] if listed else words

        match client:
            case "openai_chat":
                call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                yield {
                    "messages": [
                        {"role": "system", "content": text(system, "S")},
                        {"role": "user", "content": text(user, "U")},
                        {"role": "assistant", "content": text(said, "A"), "tool_calls": [call]},
                        {"role": "tool", "tool_call_id": "c1", "content": text(result, "R")},
                        {"role": "assistant", "content": text(said, "B")},
                        {"role": "user", "content": text(user, "V")},
                    ],
                    "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
                }
            case "anthropic_messages":
                called = [{"type": "text", "text": "A"}, {"type": "tool_use", "id": "c1", "name": "f", "input": {}}]
                told = {"type": "tool_result", "tool_use_id": "c1", "content": text(result, "R")}
                yield {
                    "max_tokens": 9,
                    "system": text(system, "S"),
                    "messages": [
                        {"role": "user", "content": text(user, "U")},
                        {"role": "assistant", "content": called},
                        {"role": "user", "content": [told]},
                        {"role": "assistant", "content": text(said, "B")},
                        {"role": "user", "content": text(user, "V")},
                    ],
                    "tools": [{"name": "f", "input_schema": SCHEMA}],
                }
            case "openai_responses":
                yield {
                    "input": [
                        {"role": "system", "content": text(system, "S", "input_text")},
                        {"role": "user", "content": text(user, "U", "input_text")},
                        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
                        {"type": "function_call_output", "call_id": "c1", "output": text(result, "R", "input_text")},
                        {"role": "assistant", "content": text(said, "B", "output_text")},
                        {"role": "user", "content": text(user, "V", "input_text")},
                    ],
                    "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}],
                }
            case "gemini":
                yield {
                    "systemInstruction": {"parts": [{"text": "S"}] if system else {"text": "S"}},
                    "contents": [{"role": "user", "parts": [{"text": "U"}] if user else {"text": "U"}}],
                }


def in_blocks(body: Json) -> Json:
    """A request of the Messages API with each text as the blocks that it is short for."""
    held = [body, *body["messages"], *(b for m in body["messages"] for b in m["content"] if isinstance(b, dict))]
    for each in held:
        for name in ("system", "content"):
            if isinstance(each.get(name), str):
                each[name] = [{"type": "text", "text": each[name]}]
    return body


@pytest.mark.parametrize("model", ["m", "claude-opus-4-8", "gpt-5.4-mini"])
@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("client", ["openai_chat", "anthropic_messages", "openai_responses", "gemini"])
def test_one_text_in_a_list_is_that_text(client: str, upstream: str, model: str) -> None:
    if client == upstream or (client, upstream) == ("anthropic_messages", "anthropic_bedrock"):
        return  # One API's own forms are the client's.
    region = {"provider_conf": {"region": "r"}} if upstream in ("anthropic_bedrock", "bedrock_converse") else {}
    sent = set()
    for form in forms(client):
        route = {"provider": UPSTREAMS[upstream], "auth": "none", **region}
        made = Translation(client, upstream, route=route, now=0).request(
            json.dumps({"model": model, **form}).encode(), path=PATHS.get(client, "").replace("/m", f"/{model}")
        )
        assert isinstance(made, Call)
        sent.add(json.dumps(in_blocks(json.loads(made.body))) if "anthropic" in upstream else made.body)
    assert len(sent) == 1, sent
