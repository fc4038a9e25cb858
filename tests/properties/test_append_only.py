"""README's fourth promise, over growing conversations: what was sent for a message never changes by what follows it.

Providers cache by the bytes of the beginning, and refuse signed thinking in a conversation that is not the one that it
was thought in. So each beginning of a conversation, up to where the model speaks, is translated by itself, and recurs
in the translation of the whole, whatever is asked for beside it and whatever the upstream cannot do.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from .conversations import HOSTED, PLACE, requests, turns
from .test_requests import PROVIDER, pairs, translate

Json = dict[str, Any]
_OWN: list[Json] = [
    {}, {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 8000},
    {"thinking": {"type": "adaptive"}}, {"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}},
    {"tool_choice": {"type": "any"}},
]  # fmt: skip
ASKED: dict[str, list[Json]] = {
    "openai_chat": [
        {}, {"reasoning_effort": "high"}, {"reasoning_effort": "none"}, {"response_format": {"type": "json_object"}},
        {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 8000}, {"tool_choice": "required"},
    ],
    "anthropic_messages": _OWN,
    **dict.fromkeys(HOSTED, _OWN),
    "openai_responses": [
        {}, {"reasoning": {"effort": "high"}}, {"text": {"format": {"type": "json_object"}}},
        {"tool_choice": "required"},
    ],
    "gemini": [
        {}, {"generationConfig": {"thinkingConfig": {"thinkingBudget": 1024, "includeThoughts": True}}},
        {"generationConfig": {"responseMimeType": "application/json"}},
    ],
    "bedrock_converse": [
        {}, {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2048}},
             "inferenceConfig": {"maxTokens": 8000}},
    ],
}  # fmt: skip
QUIRKS: list[Json] = [
    {}, {"alternate_roles": True}, {"mid_system": False}, {"alternate_roles": True, "mid_system": False},
    {"max_id": 9}, {"user_after_tool": False}, {"image": False, "file": False},
]  # fmt: skip


@pairs
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_translation_is_append_only_and_deterministic(client: str, upstream: str, data: st.DataObject) -> None:
    body = {**data.draw(requests(client, upstream)), **data.draw(st.sampled_from(ASKED[client]))}
    provider = data.draw(st.sampled_from(PROVIDER[upstream]))
    quirks = data.draw(st.sampled_from(QUIRKS))
    whole = translate(client, upstream, body, provider, quirks=quirks)
    assert json.dumps(whole) == json.dumps(translate(client, upstream, body, provider, quirks=quirks))
    place, sent = PLACE[client], PLACE[upstream]
    for k in turns(body[place]):
        before = translate(client, upstream, body | {place: body[place][:k]}, provider, quirks=quirks)
        for member in ("instructions", "system", "systemInstruction", "tools", "toolConfig"):
            assert written(before.get(member)) == written(whole.get(member))
        then = [written(m) for m in before[sent]]
        assert then == [written(m) for m in whole[sent]][: len(then)]


def written(value: Any) -> str:
    """*value* as it is sent, but for cache marks: they say where a prefix ends and are no part of one. Of more than
    Claude takes, the last ones stay, and those are others when the conversation has grown."""
    return json.dumps(unmarked(value))


def unmarked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: unmarked(each) for name, each in value.items() if name != "cache_control"}
    if isinstance(value, list):
        return [unmarked(each) for each in value if not (isinstance(each, dict) and each.keys() == {"cachePoint"})]
    return value
