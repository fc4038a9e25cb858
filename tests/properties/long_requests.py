"""Requests of *n* of something, as clients of each API can write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Json = Any
Made = Callable[[int], Json]
"""The members of a body that has *n* of something."""


def schema(properties: Json, **members: Json) -> Json:
    return {"type": "object", "properties": properties, "additionalProperties": False, **members}


def many(n: int) -> Json:
    """Properties that are all required, named in reverse."""
    return schema({f"p{i}": {"type": "string"} for i in range(n)}, required=[f"p{i}" for i in reversed(range(n))])


def nested(n: int, word: str = "allOf", depth: int = 60) -> Json:
    def one() -> Json:
        node: Json = {"type": "string"}
        for _ in range(depth):
            node = {word: [node, {"type": "string"}]}
        return node

    return schema({f"p{j}": one() for j in range(n // depth)}, required=[f"p{j}" for j in range(n // depth)])


def chained(n: int) -> Json:
    refs = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(n)}
    return schema({"a": {"$ref": "#/$defs/d0"}}, **{"required": ["a"], "$defs": {**refs, f"d{n}": {"type": "string"}}})


def branches(n: int) -> Json:
    each = [{"properties": {"kind": {"const": i}, f"q{i}": {}}, "required": ["kind"]} for i in range(n)]
    return {"type": "object", "anyOf": each}


def values(n: int) -> Json:
    return schema({"a": {"enum": [f"v{i}" for i in range(n)]}, "b": {"type": ["string", "null"] * n}}, required=["a"])


SCHEMAS: dict[str, Made] = {
    "many": many, "nested": nested, "any": lambda n: nested(n, "anyOf"), "chained": chained, "branches": branches,
    "values": values,
}  # fmt: skip


def alternating(user: Json, answer: Json, n: int) -> list[Json]:
    return [user, answer] * n + [user]


# ---- OpenAI Responses

SAID: Json = {"role": "user", "content": "hi"}
ANSWERED: Json = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]}


def call(i: int, kind: str = "function_call") -> Json:
    given = {"arguments": "{}"} if kind == "function_call" else {"input": "x"}
    return {"type": kind, "call_id": f"t{i}", "name": "f", **given}


def output(i: int, kind: str = "function_call_output") -> Json:
    return {"type": kind, "call_id": f"t{i}", "output": "r"}


def thought(i: int) -> Json:
    return {"type": "reasoning", "id": f"rs_{i}", "summary": [{"type": "summary_text", "text": "w"}]}


def function(i: int, **members: Json) -> Json:
    return {"type": "function", "name": f"f{i}", "parameters": {"type": "object", "properties": {}}, **members}


RESPONSES: dict[str, Made] = {
    "items": lambda n: {"input": alternating(SAID, ANSWERED, n)},
    "users in a row": lambda n: {"input": [SAID] * n},
    "late systems": lambda n: {"input": [SAID, *[{"role": "developer", "content": "s"}] * n, SAID]},
    "parts": lambda n: {"input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}] * n}]},
    "parts of an answer": lambda n: {"input": [SAID, {**ANSWERED, "content": ANSWERED["content"] * n}, SAID]},
    "calls, then results in reverse": lambda n: {
        "input": [SAID, *(call(i) for i in range(n)), *(output(i) for i in reversed(range(n)))]
    },
    "calls and results in turn": lambda n: {
        "input": [SAID, *(item for i in range(n) for item in (thought(i), call(i), output(i)))]
    },
    "custom calls": lambda n: {
        "tools": [{"type": "custom", "name": "f"}],
        "input": [
            SAID, *(call(i, "custom_tool_call") for i in range(n)),
            *(output(i, "custom_tool_call_output") for i in reversed(range(n))),
        ],
    },
    "calls of one id": lambda n: {"input": [SAID, *[call(0)] * n, *[output(0)] * n]},
    "results of nothing": lambda n: {"input": [*(output(i) for i in range(n)), SAID]},
    "calls without results": lambda n: {"input": [SAID, *(call(i) for i in range(n)), SAID]},
    "thoughts": lambda n: {"input": [SAID, *(thought(i) for i in range(n)), ANSWERED, SAID]},
    "summaries": lambda n: {"input": [SAID, {**thought(0), "summary": thought(0)["summary"] * n}, ANSWERED, SAID]},
    "tools": lambda n: {"tools": [function(i) for i in range(n)]},
    "strict tools": lambda n: {"tools": [function(0, strict=True, parameters=many(n))]},
    "tools of a namespace": lambda n: {
        "tools": [{"type": "namespace", "name": "s", "description": "d", "tools": [function(i) for i in range(n)]}]
    },
    "equal names of tools": lambda n: {"tools": [function(0)] * n},
    "long names of tools": lambda n: {"tools": [{**function(0), "name": f"{'f' * 80}.{i}"} for i in range(n)]},
    "allowed tools": lambda n: {
        "tools": [function(i) for i in range(n)],
        "tool_choice": {
            "type": "allowed_tools", "mode": "auto",
            "tools": [{"type": "function", "name": f"f{i}"} for i in range(n)],
        },
    },
    "include": lambda n: {"include": ["reasoning.encrypted_content"] * n},
    "metadata": lambda n: {"metadata": {f"m{i}": "x" for i in range(n)}},
    "unknown members": lambda n: {f"m{i}": "x" for i in range(n)},
    "unknown items": lambda n: {"input": [SAID, *({"type": f"x{i}", "a": 1} for i in range(n))]},
    **{
        f"schema: {name}": lambda n, make=make: {  # type: ignore[misc]
            "text": {"format": {"type": "json_schema", "name": "n", "strict": True, "schema": make(n)}}
        }
        for name, make in SCHEMAS.items()
    },
}  # fmt: skip

# ---- Gemini

ASKS: Json = {"role": "user", "parts": [{"text": "hi"}]}
MODEL: Json = {"role": "model", "parts": [{"text": "a"}]}


def calls(ids: list[str]) -> Json:
    return {"role": "model", "parts": [{"functionCall": {"id": id_, "name": "f", "args": {}}} for id_ in ids]}


def responses(ids: list[str]) -> Json:
    parts = [{"functionResponse": {"id": id_, "name": "f", "response": {"r": 1}}} for id_ in ids]
    return {"role": "user", "parts": parts}


def without_ids(content: Json) -> Json:
    strip = {name: {k: v for k, v in part[name].items() if k != "id"} for part in content["parts"] for name in part}
    return {**content, "parts": [strip] * len(content["parts"])}


def ids(n: int) -> list[str]:
    return [f"t{i}" for i in range(n)]


GEMINI: dict[str, Made] = {
    "contents": lambda n: {"contents": alternating(ASKS, MODEL, n)},
    "users in a row": lambda n: {"contents": [ASKS] * n},
    "models in a row": lambda n: {"contents": [ASKS, *[MODEL] * n, ASKS]},
    "parts": lambda n: {"contents": [{"role": "user", "parts": [{"text": "x"}] * n}]},
    "system": lambda n: {"systemInstruction": {"parts": [{"text": "x"}] * n}},
    "thoughts": lambda n: {
        "contents": [ASKS, {"role": "model", "parts": [{"text": "w", "thought": True}] * n + MODEL["parts"]}, ASKS]
    },
    "results in reverse": lambda n: {"contents": [ASKS, calls(ids(n)), responses(ids(n)[::-1])]},
    "results in contents of their own": lambda n: {
        "contents": [ASKS, calls(ids(n)), *(responses([id_]) for id_ in ids(n)[::-1])]
    },
    "calls and results in turn": lambda n: {
        "contents": [ASKS, *(each for id_ in ids(n) for each in (calls([id_]), responses([id_])))]
    },
    "without ids": lambda n: {"contents": [ASKS, without_ids(calls(ids(n))), without_ids(responses(ids(n)))]},
    "results of nothing": lambda n: {"contents": [responses(ids(n)), ASKS]},
    "calls without results": lambda n: {"contents": [ASKS, calls(ids(n)), ASKS]},
    "tools": lambda n: {"tools": [{"functionDeclarations": [{"name": f"f{i}"} for i in range(n)]}]},
    "lists of tools": lambda n: {"tools": [{"functionDeclarations": [{"name": f"f{i}"}]} for i in range(n)]},
    "allowed names": lambda n: {
        "tools": [{"functionDeclarations": [{"name": f"f{i}"} for i in range(n)]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [f"f{i}" for i in range(n)]}},
    },
    "stops": lambda n: {"generationConfig": {"stopSequences": [f"s{i}" for i in range(n)]}},
    "safety": lambda n: {"safetySettings": [{"category": f"C{i}", "threshold": "BLOCK_NONE"} for i in range(n)]},
    "labels": lambda n: {"labels": {f"m{i}": "x" for i in range(n)}},
    "unknown members": lambda n: {f"m{i}": "x" for i in range(n)},
    **{
        f"schema: {name}": lambda n, make=make: {  # type: ignore[misc]
            "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": make(n)}
        }
        for name, make in SCHEMAS.items()
    },
    **{
        f"schema of a tool: {name}": lambda n, make=make: {  # type: ignore[misc]
            "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": make(n)}]}]
        }
        for name, make in SCHEMAS.items()
    },
}

# ---- Bedrock Converse

WORD = {"text": "x"}
TURN: Json = {"role": "user", "content": [WORD]}
REPLY: Json = {"role": "assistant", "content": [WORD]}


def uses(of: list[str]) -> Json:
    content = [{"toolUse": {"toolUseId": id_, "name": "f", "input": {}}} for id_ in of]
    return {"role": "assistant", "content": content}


def results(of: list[str]) -> Json:
    return {"role": "user", "content": [{"toolResult": {"toolUseId": id_, "content": [WORD]}} for id_ in of]}


def spec(i: int, given: Json = None) -> Json:
    return {"toolSpec": {"name": f"f{i}", "inputSchema": {"json": given or {"type": "object"}}}}


CONVERSE: dict[str, Made] = {
    "messages": lambda n: {"messages": alternating(TURN, REPLY, n)},
    "users in a row": lambda n: {"messages": [TURN] * n},
    "blocks": lambda n: {"messages": [{"role": "user", "content": [WORD] * n}]},
    "system": lambda n: {"system": [WORD] * n},
    "cache points": lambda n: {
        "messages": [{"role": "user", "content": [WORD, {"cachePoint": {"type": "default"}}] * n}]
    },
    "thoughts": lambda n: {
        "messages": [
            TURN,
            {"role": "assistant",
             "content": [{"reasoningContent": {"reasoningText": {"text": "t", "signature": "S"}}}] * n + [WORD]},
            TURN,
        ]
    },
    "results in reverse": lambda n: {"messages": [TURN, uses(ids(n)), results(ids(n)[::-1])]},
    "calls and results in turn": lambda n: {
        "messages": [TURN, *(each for id_ in ids(n) for each in (uses([id_]), results([id_])))]
    },
    "calls of one id": lambda n: {"messages": [TURN, uses(["t"] * n), results(["t"] * n)]},
    "results of nothing": lambda n: {"messages": [results(ids(n))]},
    "calls without results": lambda n: {"messages": [TURN, uses(ids(n)), TURN]},
    "blocks of a result": lambda n: {
        "messages": [
            TURN, uses(["t"]), {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [WORD] * n}}]}
        ]
    },
    "tools": lambda n: {"toolConfig": {"tools": [spec(i) for i in range(n)]}},
    "equal names of tools": lambda n: {"toolConfig": {"tools": [spec(0)] * n}},
    "schema of a tool": lambda n: {"toolConfig": {"tools": [spec(0, many(n))]}},
    "branches of a tool": lambda n: {"toolConfig": {"tools": [spec(0, branches(n))]}},
    "stops": lambda n: {"inferenceConfig": {"stopSequences": [f"s{i}" for i in range(n)]}},
    "metadata": lambda n: {"requestMetadata": {f"m{i}": "x" for i in range(n)}},
    "more fields": lambda n: {"additionalModelRequestFields": {f"m{i}": "x" for i in range(n)}},
    "paths of fields": lambda n: {"additionalModelResponseFieldPaths": [f"/m{i}" for i in range(n)]},
    "unknown members": lambda n: {f"m{i}": "x" for i in range(n)},
}  # fmt: skip

# ---- Embeddings, which only their own API answers

EMBEDDINGS: dict[str, Made] = {
    "inputs": lambda n: {"input": ["x"] * n},
    "tokens": lambda n: {"input": [1] * n},
    "lists of tokens": lambda n: {"input": [[1, 2]] * n},
    "unknown members": lambda n: {"input": "x", **{f"m{i}": "x" for i in range(n)}},
}
