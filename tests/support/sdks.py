"""The vendors' own SDKs as clients, each with the same few words: a conversation with one tool, whole or streamed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import anthropic
import boto3
import openai
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError
from google import genai
from google.genai import errors, types

from .gateway import CLIENT_KEY

Json = dict[str, Any]
SCHEMA: Json = {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False,
}  # fmt: skip
BRIEF = "Be brief."
NAME, ABOUT = "get_weather", "The weather of a city"
OPTIONS: Json = {"api_key": CLIENT_KEY, "max_retries": 0, "timeout": 30.0}


def claude_on_bedrock(base: str) -> anthropic.AnthropicBedrock:
    """Anthropic's SDK in its Bedrock mode, with a key of the client's own."""
    keys: Json = {"aws_access_key": CLIENT_KEY, "aws_secret_key": "secret", "aws_region": "us-east-1"}
    return anthropic.AnthropicBedrock(base_url=base, max_retries=0, timeout=30.0, **keys)


def claude_on_vertex(base: str) -> anthropic.AnthropicVertex:
    """The same in its Vertex AI mode."""
    place: Json = {"region": "us-east5", "project_id": "theirs", "access_token": CLIENT_KEY}
    return anthropic.AnthropicVertex(base_url=f"{base}/v1", max_retries=0, timeout=30.0, **place)


@dataclass(frozen=True)
class Said:
    """A turn of the model, as the SDK reads it."""

    text: str
    calls: list[Json]
    """The inputs of the calls."""
    tokens: tuple[int, int]
    """How many were read, and written."""


class Conversation:
    """One with *model*, which is at *base*, a URL without the API's own path. *thinks*: the model is to think, the
    beginning is marked for the provider's cache in the words that the API has for it, and all that came is kept."""

    slow_down: type[Exception]
    """What the SDK raises when the provider limits the rate."""
    broken: tuple[type[Exception], ...]
    """What it raises when a stream breaks off."""

    def __init__(self, base: str, model: str, *, streamed: bool, thinks: bool = False) -> None:
        self.base, self.model, self.streamed, self.thinks = base, model, streamed, thinks
        self.turns: list[Any] = []
        self.calls: list[Any] = []
        """Those of the last turn, which wait for results."""

    def asks(self, text: str) -> Said:
        self.turns.append(self.question(text))
        return self.answer()

    def gives(self, results: Sequence[str]) -> Said:
        """*results* of the last turn's calls, in their order."""
        self.turns += self.results(list(zip(self.calls, results, strict=True)))
        return self.answer()

    def question(self, text: str) -> Any:
        return {"role": "user", "content": text}

    def results(self, given: list[tuple[Any, str]]) -> list[Any]:
        raise NotImplementedError

    def answer(self) -> Said:
        """The model's next turn, which is also kept as the SDK's users keep it."""
        raise NotImplementedError


class ChatCompletions(Conversation):
    slow_down, broken = openai.RateLimitError, (openai.APIError,)

    def results(self, given: list[tuple[Any, str]]) -> list[Any]:
        return [{"role": "tool", "tool_call_id": call.id, "content": text} for call, text in given]

    def answer(self) -> Said:
        chat = openai.OpenAI(base_url=f"{self.base}/v1", **OPTIONS).chat.completions
        tool = {"type": "function", "function": {"name": NAME, "description": ABOUT, "parameters": SCHEMA}}
        asked: Any = {"model": self.model, "messages": self.turns, "tools": [tool]}
        if self.thinks:
            marked = {"type": "text", "text": BRIEF, "cache_control": {"type": "ephemeral"}}
            first = {"role": "system", "content": [marked]}
            asked |= {"messages": [first, *self.turns], "reasoning_effort": "high", "prompt_cache_key": "k"}
        done: Any
        if self.streamed:
            with chat.stream(**asked, stream_options={"include_usage": True}) as stream:
                done = stream.get_final_completion()
        else:
            done = chat.create(**asked)
        said = done.choices[0].message
        self.calls = list(said.tool_calls or [])
        # What clients keep that know of nothing else.
        kept = [{"id": each.id, "type": "function",
                 "function": {"name": each.function.name, "arguments": each.function.arguments}}
                for each in self.calls]  # fmt: skip
        plain = {"role": "assistant", "content": said.content, **({"tool_calls": kept} if kept else {})}
        self.turns.append(said.to_dict(exclude_none=True) if self.thinks else plain)
        inputs = [json.loads(each.function.arguments) for each in self.calls]
        return Said(said.content or "", inputs, (done.usage.prompt_tokens, done.usage.completion_tokens))


class Responses(Conversation):
    slow_down, broken = openai.RateLimitError, (openai.APIError,)

    def results(self, given: list[tuple[Any, str]]) -> list[Any]:
        return [{"type": "function_call_output", "call_id": call.call_id, "output": text} for call, text in given]

    def answer(self) -> Said:
        client = openai.OpenAI(base_url=f"{self.base}/v1", **OPTIONS)
        tool = {"type": "function", "name": NAME, "description": ABOUT, "parameters": SCHEMA, "strict": False}
        asked: Any = {"model": self.model, "input": self.turns, "tools": [tool], "store": False,
                      "include": ["reasoning.encrypted_content"]}  # fmt: skip
        if self.thinks:
            wish = {"effort": "high", "summary": "auto"}
            asked |= {"instructions": BRIEF, "reasoning": wish, "prompt_cache_key": "k"}
        done: Any
        if self.streamed:
            with client.responses.stream(**asked) as stream:
                done = stream.get_final_response()
        else:
            done = client.responses.create(**asked)
        self.calls = [item for item in done.output if item.type == "function_call"]
        self.turns += [item.to_dict() for item in done.output]
        inputs = [json.loads(call.arguments) for call in self.calls]
        return Said(done.output_text, inputs, (done.usage.input_tokens, done.usage.output_tokens))


class Messages(Conversation):
    slow_down: type[Exception] = anthropic.RateLimitError
    broken: tuple[type[Exception], ...] = (anthropic.APIError,)

    def client(self) -> Any:
        return anthropic.Anthropic(base_url=self.base, **OPTIONS)

    def results(self, given: list[tuple[Any, str]]) -> list[Any]:
        blocks = [{"type": "tool_result", "tool_use_id": call.id, "content": text} for call, text in given]
        return [{"role": "user", "content": blocks}]

    def answer(self) -> Said:
        tool = {"name": NAME, "description": ABOUT, "input_schema": SCHEMA}
        asked: Any = {"model": self.model, "max_tokens": 99, "messages": self.turns, "tools": [tool]}
        if self.thinks:
            marked = {"type": "text", "text": BRIEF, "cache_control": {"type": "ephemeral"}}
            budget = {"type": "enabled", "budget_tokens": 2048}
            asked |= {"max_tokens": 9000, "system": [marked], "thinking": budget}
        if self.streamed:
            with self.client().messages.stream(**asked) as stream:
                done = stream.get_final_message()
        else:
            done = self.client().messages.create(**asked)
        self.calls = [block for block in done.content if block.type == "tool_use"]
        self.turns.append({"role": "assistant", "content": done.content})
        text = "".join(block.text for block in done.content if block.type == "text")
        return Said(text, [call.input for call in self.calls], (done.usage.input_tokens, done.usage.output_tokens))


class ClaudeOnBedrock(Messages):
    """What Claude Code speaks in its Bedrock mode."""

    # An exception within the stream has no class of its own there.
    broken = (anthropic.APIError, ValueError)

    def client(self) -> Any:
        return claude_on_bedrock(self.base)


class ClaudeOnVertex(Messages):
    """What Claude Code speaks in its Vertex AI mode."""

    def client(self) -> Any:
        return claude_on_vertex(self.base)


class Gemini(Conversation):
    slow_down, broken = errors.ClientError, (errors.APIError,)

    def question(self, text: str) -> Any:
        return types.Content(role="user", parts=[types.Part(text=text)])

    def results(self, given: list[tuple[Any, str]]) -> list[Any]:
        told = [
            types.FunctionResponse(id=call.id, name=call.name, response={"output": text}) for call, text in given
        ]  # fmt: skip
        return [types.Content(role="user", parts=[types.Part(function_response=each) for each in told])]

    def answer(self) -> Said:
        where = types.HttpOptions(base_url=self.base, timeout=30_000)
        client = genai.Client(api_key=CLIENT_KEY, http_options=where)
        declared = types.FunctionDeclaration(name=NAME, description=ABOUT, parameters_json_schema=SCHEMA)
        config = types.GenerateContentConfig(
            tools=[types.Tool(function_declarations=[declared])],
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )
        if self.thinks:
            config.system_instruction = BRIEF
            config.thinking_config = types.ThinkingConfig(thinking_budget=2048, include_thoughts=True)
        asked: Any = {"model": self.model, "contents": self.turns, "config": config}
        whole = [client.models.generate_content(**asked)] if not self.streamed else []
        chunks = list(client.models.generate_content_stream(**asked)) if self.streamed else whole
        parts = [part for chunk in chunks for part in _parts(chunk) if part != types.Part(text="")]
        self.calls = [part.function_call for part in parts if part.function_call]
        self.turns.append(types.Content(role="model", parts=parts))
        used = chunks[-1].usage_metadata or types.GenerateContentResponseUsageMetadata()
        text = "".join(part.text or "" for part in parts if not part.thought)
        tokens = (used.prompt_token_count or 0, used.candidates_token_count or 0)
        return Said(text, [dict(call.args or {}) for call in self.calls], tokens)


def _parts(response: types.GenerateContentResponse) -> list[types.Part]:
    [candidate] = response.candidates or []
    return (candidate.content and candidate.content.parts) or []


class Converse(Conversation):
    slow_down, broken = ClientError, (EventStreamError,)

    def question(self, text: str) -> Any:
        return {"role": "user", "content": [{"text": text}]}

    def results(self, given: list[tuple[Any, str]]) -> list[Any]:
        told = [{"toolUseId": call["toolUseId"], "content": [{"text": text}]} for call, text in given]
        return [{"role": "user", "content": [{"toolResult": each} for each in told]}]

    def answer(self) -> Said:
        client: Any = boto3.client(
            "bedrock-runtime", endpoint_url=self.base, region_name="eu-west-1", aws_access_key_id=CLIENT_KEY,
            aws_secret_access_key="secret", config=Config(retries={"max_attempts": 0}, read_timeout=30),
        )  # fmt: skip
        tool = {"toolSpec": {"name": NAME, "description": ABOUT, "inputSchema": {"json": SCHEMA}}}
        asked: Any = {"modelId": self.model, "messages": self.turns, "toolConfig": {"tools": [tool]}}
        if self.thinks:
            more = {"thinking": {"type": "enabled", "budget_tokens": 2048}}
            asked["system"] = [{"text": BRIEF}, {"cachePoint": {"type": "default"}}]
            asked |= {"additionalModelRequestFields": more, "inferenceConfig": {"maxTokens": 9000}}
        if self.streamed:
            blocks, usage = _gathered(client.converse_stream(**asked)["stream"])
        else:
            done = client.converse(**asked)
            blocks, usage = done["output"]["message"]["content"], done["usage"]
        self.calls = [block["toolUse"] for block in blocks if "toolUse" in block]
        self.turns.append({"role": "assistant", "content": blocks})
        text = "".join(block.get("text", "") for block in blocks)
        return Said(text, [call["input"] for call in self.calls], (usage["inputTokens"], usage["outputTokens"]))


def _gathered(stream: Iterable[Json]) -> tuple[list[Json], Json]:
    """The blocks of a ConverseStream, each of which must be closed, and the usage."""
    blocks: dict[int, Json] = {}
    closed, usage = [], {}
    for event in stream:
        ((kind, value),) = event.items()
        index = value.get("contentBlockIndex", -1)
        if kind == "contentBlockStart":
            blocks[index] = {"toolUse": {**value["start"]["toolUse"], "input": ""}}
        elif kind == "contentBlockDelta":
            _add(blocks.setdefault(index, {}), value["delta"])
        elif kind == "contentBlockStop":
            closed.append(index)
        elif kind == "metadata":
            usage = value["usage"]
    assert closed == sorted(blocks)
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"])
    return list(blocks.values()), usage


def _add(block: Json, delta: Json) -> None:
    if "toolUse" in delta:
        block["toolUse"]["input"] += delta["toolUse"]["input"]
    elif "reasoningContent" in delta:
        told = block.setdefault("reasoningContent", {"reasoningText": {"text": ""}})["reasoningText"]
        for name, piece in delta["reasoningContent"].items():
            told[name] = told.get(name, "") + piece
    elif "text" in delta:
        block["text"] = block.get("text", "") + delta["text"]


SDKS: dict[str, Callable[..., Conversation]] = {
    "Chat Completions": ChatCompletions,
    "Responses": Responses,
    "Messages": Messages,
    "Gemini": Gemini,
    "Converse": Converse,
    "Claude on Bedrock": ClaudeOnBedrock,
    "Claude on Vertex AI": ClaudeOnVertex,
}
"""By the names of the APIs that they speak, as the README has them."""
