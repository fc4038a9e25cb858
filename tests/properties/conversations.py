"""Conversations as clients of each API write them, for the properties of requests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from extproc.dialects.openai_responses.words import Carried, write_carrier

Json = dict[str, Any]
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)
NAMES = st.sampled_from(["f", "read_file", "mcp__very.long/name with spaces" + "x" * 60, "détails"])
IDS = st.sampled_from(["call_1", "toolu_2", "functions.f:0", "functions_f_0", "x" * 60, "a b"])
PNG = "iVBORw0KGgo="
VALUES = st.one_of(TEXT, st.integers(-5, 5), st.none())
INPUTS = st.dictionaries(st.sampled_from(["q", "path", "n"]), VALUES, max_size=2)
ARGUMENTS = st.sampled_from(["{}", "", '{"q": 1}', "{bad"])


@st.composite
def chat_messages(draw: st.DrawFn) -> list[Json]:
    """OpenAI Chat: a legal history that ends with the user or with tool results."""
    leading = draw(st.sampled_from([[], ["system"], ["system", "developer"]]))
    messages: list[Json] = [{"role": role, "content": draw(TEXT)} for role in leading]
    for turn in range(draw(st.integers(1, 4))):
        if turn:
            messages += draw(chat_answer(turn))
        if turn and draw(st.integers(0, 4)) == 0:
            messages.append({"role": "system", "content": draw(TEXT)})
        messages.append({"role": "user", "content": draw(st.one_of(TEXT, chat_parts()))})
    return messages


def chat_parts() -> st.SearchStrategy[list[Json]]:
    text = TEXT.map(lambda t: {"type": "text", "text": t})
    image = st.just({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}})
    return st.lists(st.one_of(text, image), min_size=1, max_size=3)


@st.composite
def chat_answer(draw: st.DrawFn, turn: int) -> list[Json]:
    answer: Json = {"role": "assistant", "content": draw(st.one_of(TEXT, st.none()))}
    ids = draw(st.lists(IDS, max_size=3, unique=True))
    if not ids:
        return [answer | {"content": answer["content"] or "ok"}]
    ids = [f"{id_}.{turn}" if draw(st.booleans()) else id_ + str(turn) for id_ in ids]
    answer["tool_calls"] = [
        {"id": id_, "type": "function", "function": {"name": draw(NAMES), "arguments": draw(ARGUMENTS)}} for id_ in ids
    ]
    if draw(st.booleans()):
        answer["reasoning_content"] = draw(TEXT)
    if draw(st.booleans()):
        answer["reasoning_details"] = [
            {"type": "reasoning.text", "text": "t", "signature": "S", "format": "anthropic-claude-v1", "index": 0}
        ]
    results = [{"role": "tool", "tool_call_id": id_, "content": draw(st.one_of(TEXT, st.just("")))} for id_ in ids]
    return [answer, *draw(st.permutations(results))]


@st.composite
def messages_messages(draw: st.DrawFn) -> list[Json]:
    """Anthropic Messages: a legal history that ends with the user."""
    messages: list[Json] = [{"role": "user", "content": draw(st.one_of(TEXT, user_blocks()))}]
    for turn in range(draw(st.integers(0, 3))):
        messages += draw(messages_turn(turn))
    return messages


def user_blocks() -> st.SearchStrategy[list[Json]]:
    cache = st.sampled_from([{}, {"cache_control": {"type": "ephemeral"}}])
    text = st.builds(lambda t, c: {"type": "text", "text": t} | c, TEXT, cache)
    image = st.just({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}})
    return st.lists(st.one_of(text, image), min_size=1, max_size=3)


@st.composite
def messages_turn(draw: st.DrawFn, turn: int) -> list[Json]:
    blocks: list[Json] = []
    if draw(st.booleans()):
        blocks.append({"type": "thinking", "thinking": draw(TEXT), "signature": "S"})
    if draw(st.booleans()):
        blocks.append({"type": "text", "text": draw(TEXT)})
    ids = [f"toolu_{turn}_{n}" + draw(st.sampled_from(["", "x" * 50])) for n in range(draw(st.integers(0, 3)))]
    blocks += [{"type": "tool_use", "id": id_, "name": draw(NAMES), "input": draw(INPUTS)} for id_ in ids]
    if all(block["type"] == "thinking" for block in blocks):
        blocks.append({"type": "text", "text": "ok"})  # nobody answers with thinking alone
    answer: list[Json] = [{"role": "assistant", "content": blocks}]
    reply: list[Json] = [draw(tool_result(id_)) for id_ in ids]
    after = draw(user_blocks())
    answer.append({"role": "user", "content": reply + after if draw(st.booleans()) or not reply else reply})
    if draw(st.integers(0, 3)) == 0:
        answer.append({"role": "system", "content": draw(TEXT)})
    return answer


@st.composite
def tool_result(draw: st.DrawFn, id_: str) -> Json:
    result: Json = {"type": "tool_result", "tool_use_id": id_}
    content = draw(st.one_of(st.none(), TEXT, user_blocks()))
    if content is not None:
        result["content"] = content
    return result | ({"is_error": True} if draw(st.booleans()) else {})


# ---- OpenAI Responses


@st.composite
def responses_items(draw: st.DrawFn) -> list[Json]:
    """A legal history that ends with the user or with results; a text in place of items stands for one message."""
    items: list[Json] = []
    if draw(st.booleans()):
        items.append({"type": "message", "role": "developer", "content": draw(TEXT)})
    for turn in range(draw(st.integers(1, 4))):
        if turn:
            items += draw(responses_turn(turn))
        if turn and draw(st.integers(0, 4)) == 0:
            items.append({"role": "developer", "content": [{"type": "input_text", "text": draw(TEXT)}]})
        items.append({"type": "message", "role": "user", "content": draw(st.one_of(TEXT, responses_parts()))})
    return items


def responses_parts() -> st.SearchStrategy[list[Json]]:
    text = TEXT.map(lambda t: {"type": "input_text", "text": t})
    image = st.just({"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"})
    return st.lists(st.one_of(text, image), min_size=1, max_size=3)


@st.composite
def responses_turn(draw: st.DrawFn, turn: int) -> list[Json]:
    said: list[Json] = []
    if draw(st.booleans()):
        sealed = draw(st.sampled_from([None, "gAAAA", CLAUDES]))
        summary = [{"type": "summary_text", "text": draw(TEXT)}]
        said.append({"type": "reasoning", "id": f"rs_{turn}", "summary": summary, "encrypted_content": sealed})
    ids: list[str] = draw(st.lists(IDS, max_size=3, unique=True))
    if not ids or draw(st.booleans()):
        parts = [{"type": "output_text", "text": draw(TEXT), "annotations": []}]
        said.append({"type": "message", "id": f"msg_{turn}", "role": "assistant", "content": parts})
    results: list[Json] = []
    for id_ in ids:
        id_ = f"{id_}.{turn}" if draw(st.booleans()) else id_ + str(turn)
        kind, member = draw(st.sampled_from([("function_call", "arguments"), ("custom_tool_call", "input")]))
        said.append({"type": kind, "call_id": id_, "name": draw(NAMES), member: draw(ARGUMENTS)})
        output = draw(st.one_of(TEXT, st.just(""), responses_parts()))
        results.append({"type": f"{kind}_output", "call_id": id_, "output": output})
    nested: bool = draw(st.booleans())
    if results and nested:
        said[-1]["namespace"] = "mcp__fs"
    return [*said, *draw(st.permutations(results))]


# ---- Gemini


@st.composite
def gemini_contents(draw: st.DrawFn) -> list[Json]:
    """A legal history that ends with the user, calls with and without ids."""
    contents: list[Json] = [{"role": "user", "parts": draw(gemini_parts())}]
    for turn in range(draw(st.integers(0, 3))):
        contents += draw(gemini_turn(turn))
    return contents


def gemini_parts() -> st.SearchStrategy[list[Json]]:
    text = TEXT.map(lambda t: {"text": t})
    image = st.just({"inlineData": {"mimeType": "image/png", "data": PNG}})
    return st.lists(st.one_of(text, image), min_size=1, max_size=3)


@st.composite
def gemini_turn(draw: st.DrawFn, turn: int) -> list[Json]:
    parts: list[Json] = []
    if draw(st.booleans()):
        parts.append({"text": draw(TEXT), "thought": True})
    if draw(st.booleans()):
        signature: Json = draw(st.sampled_from([{}, {"thoughtSignature": "EpwCCpkC"}]))
        parts.append({"text": draw(TEXT)} | signature)
    results: list[Json] = []
    for n in range(draw(st.integers(0, 3))):
        id_: Json = draw(st.sampled_from([{}, {"id": f"fc-{turn}-{n}"}]))
        name: str = draw(NAMES)
        signature = draw(st.sampled_from([{}, {"thoughtSignature": "CiQB0e2Kb1/+AA=="}]))
        parts.append({"functionCall": {**id_, "name": name, "args": draw(INPUTS)}} | signature)
        results.append({"functionResponse": {**id_, "name": name, "response": draw(gemini_response())}})
    if all("thought" in part for part in parts):
        parts.append({"text": "ok"})  # nobody answers with thinking alone
    after: list[Json] = draw(gemini_parts()) if not results or draw(st.booleans()) else []
    return [{"role": "model", "parts": parts}, {"role": "user", "parts": [*results, *after]}]


def gemini_response() -> st.SearchStrategy[Json]:
    return st.one_of(INPUTS, TEXT.map(lambda t: {"output": t}), TEXT.map(lambda t: {"error": t}))


# ---- Bedrock's Converse


@st.composite
def converse_messages(draw: st.DrawFn) -> list[Json]:
    """A legal history that ends with the user."""
    messages: list[Json] = [{"role": "user", "content": draw(converse_blocks())}]
    for turn in range(draw(st.integers(0, 3))):
        messages += draw(converse_turn(turn))
    return messages


def converse_blocks() -> st.SearchStrategy[list[Json]]:
    text = TEXT.map(lambda t: {"text": t})
    image = st.just({"image": {"format": "png", "source": {"bytes": PNG}}})
    point = st.just({"cachePoint": {"type": "default"}})
    return st.lists(st.one_of(text, image, point), min_size=1, max_size=3).map(lambda blocks: [{"text": "x"}, *blocks])


@st.composite
def converse_turn(draw: st.DrawFn, turn: int) -> list[Json]:
    blocks: list[Json] = []
    if draw(st.booleans()):
        blocks.append({"reasoningContent": {"reasoningText": {"text": draw(TEXT), "signature": "S"}}})
    ids = [f"tooluse_{turn}.{n}" for n in range(draw(st.integers(0, 3)))]
    if not ids or draw(st.booleans()):
        blocks.append({"text": draw(TEXT)})
    blocks += [{"toolUse": {"toolUseId": id_, "name": draw(NAMES), "input": draw(INPUTS)}} for id_ in ids]
    said = st.one_of(TEXT.map(lambda t: {"text": t}), INPUTS.map(lambda v: {"json": v}))
    status: Json = draw(st.sampled_from([{}, {"status": "error"}]))
    results = [{"toolResult": {"toolUseId": id_, "content": draw(st.lists(said, max_size=2)), **status}} for id_ in ids]
    after: list[Json] = draw(converse_blocks()) if not results or draw(st.booleans()) else []
    return [{"role": "assistant", "content": blocks}, {"role": "user", "content": [*results, *after]}]


CLAUDES = write_carrier(Carried("t", "S"))
SCHEMA = {"type": "object", "properties": {}}
TOOLS: dict[str, list[Json]] = {
    "openai_chat": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
    "anthropic_messages": [{"name": "f", "input_schema": SCHEMA}],
    "openai_responses": [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": False}],
    "gemini": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": SCHEMA}]}],
    "bedrock_converse": [{"toolSpec": {"name": "f", "inputSchema": {"json": SCHEMA}}}],
}
MESSAGES = {
    "openai_chat": chat_messages(),
    "anthropic_messages": messages_messages(),
    "openai_responses": responses_items(),
    "gemini": gemini_contents(),
    "bedrock_converse": converse_messages(),
}
PLACE = {
    "openai_chat": "messages", "anthropic_messages": "messages", "openai_responses": "input", "gemini": "contents",
    "bedrock_converse": "messages",
}  # fmt: skip
"""The member that holds the conversation."""
BASE: dict[str, Json] = {
    "openai_chat": {},
    "anthropic_messages": {"max_tokens": 100, "system": "be brief"},
    "openai_responses": {"instructions": "be brief", "store": False},
    "gemini": {"systemInstruction": {"parts": [{"text": "be brief"}]}},
    "bedrock_converse": {"system": [{"text": "be brief"}]},
}
MODELS = {
    "openai_chat": ["gpt-4o", "gpt-5.1", "my-model"],
    "anthropic_messages": ["claude-sonnet-4-5", "claude-opus-4-8", "claude-opus-5-5", "other"],
    "openai_responses": ["gpt-4o", "gpt-5.1", "my-model"],
    "gemini": ["gemini-2.5-flash", "gemini-3-pro-preview", "gemini-2.0-flash", "tuned"],
    "bedrock_converse": ["eu.anthropic.claude-opus-4-8-v1:0", "amazon.nova-pro-v1:0", "openai.gpt-oss-120b-1:0"],
}
IN_PATH = {
    "gemini": "/v1beta/models/{}:generateContent",
    "bedrock_converse": "/model/{}/converse",
    "anthropic_bedrock": "/model/{}/invoke",
    "anthropic_vertex": "/v1/projects/p/locations/r/publishers/anthropic/models/{}:rawPredict",
}
"""APIs whose path names the model."""
HOSTED = {
    "anthropic_bedrock": {"anthropic_version": "bedrock-2023-05-31"},
    "anthropic_vertex": {"anthropic_version": "vertex-2023-10-16"},
}
"""Claude where others host it: Anthropic's own conversations, and what else a body says."""
_OWN = "anthropic_messages"
for _name, _said in HOSTED.items():
    TOOLS[_name], MESSAGES[_name], PLACE[_name] = TOOLS[_OWN], MESSAGES[_OWN], PLACE[_OWN]
    BASE[_name], MODELS[_name] = BASE[_OWN] | _said, MODELS[_OWN]


def with_tools(client: str, tools: list[Json]) -> Json:
    """*tools* as the member of a body."""
    return {"toolConfig": {"tools": tools}} if client == "bedrock_converse" else {"tools": tools}


@st.composite
def requests(draw: st.DrawFn, client: str, upstream: str) -> Json:
    body = {"model": draw(st.sampled_from(MODELS[upstream])), **BASE[client], PLACE[client]: draw(MESSAGES[client])}
    return body | with_tools(client, TOOLS[client])


_BY_MODEL = ("reasoning", "function_call", "custom_tool_call")


def is_models(item: Json) -> bool:
    """Whether the model said *item* of a conversation."""
    return item.get("role") in ("assistant", "model") or item.get("type") in _BY_MODEL


def turns(conversation: list[Json]) -> list[int]:
    """Where the model's turns begin."""
    return [k for k, item in enumerate(conversation) if is_models(item) and not (k and is_models(conversation[k - 1]))]
