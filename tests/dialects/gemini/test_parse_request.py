from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from extproc import Refused
from extproc.dialects.base import ClientCall
from extproc.dialects.gemini.words import STAND_IN
from extproc.llm.failures import ProtocolError
from extproc.llm.losses import LossReport
from extproc.llm.request import (
    Audio,
    Document,
    Image,
    Message,
    Opaque,
    Output,
    Reasoning,
    Request,
    Sampling,
    Source,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

from .helpers import DIALECT, PATH, Json, from_gemini, reported

CHAT, MESSAGES = "openai_chat", "anthropic_messages"
HI: Json = {"role": "user", "parts": [{"text": "hi"}]}


def parse(path: str = PATH.format("m"), **members: Any) -> Request:
    body = {"contents": [HI], **members}
    return DIALECT.parse_request(ClientCall("POST", path, [], json.dumps(body).encode()), LossReport())


def blocks(*parts: Json, role: str = "user", before: list[Json] | None = None) -> Any:
    contents = [*(before or []), {"role": role, "parts": list(parts)}]
    return parse(contents=contents).messages[-1].content


# ---- the path


@pytest.mark.parametrize(
    ("path", "model", "stream", "array"),
    [
        ("/v1beta/models/gemini-2.5-pro:generateContent", "gemini-2.5-pro", False, False),
        ("/v1/models/m:streamGenerateContent?alt=sse", "m", True, False),
        ("/x/v1beta/models/m:streamGenerateContent?key=k&alt=sse", "m", True, False),
        ("/v1beta/models/m:streamGenerateContent?key=k", "m", True, True),
        ("/v1beta/models/m:streamGenerateContent?alt=json", "m", True, True),
        ("/v1beta/models/a%2Fb:generateContent/", "a/b", False, False),
        ("/v1beta1/projects/p/locations/r/publishers/google/models/m:generateContent", "m", False, False),
        ("/v1/projects/p/locations/r/endpoints/123:generateContent", "123", False, False),
        ("/anything", "", False, False),
    ],
)
def test_the_path_says_model_and_stream(path: str, model: str, stream: bool, array: bool) -> None:
    request = parse(path)
    assert (request.model, request.stream, request.client_state.array) == (model, stream, array)
    if path != "/anything":
        asked = DIALECT.peek(path, {})
        assert (asked.model, asked.stream) == (model, stream)


def test_a_model_in_the_body_counts_where_the_path_names_none() -> None:
    assert parse("/anything", model="models/x").model == "x"
    assert parse(model="models/x").model == "m"


# ---- what is said


@pytest.mark.parametrize("spelled", [str, lambda name: name.replace("Type", "_type").replace("Data", "_data")])
def test_parts(spelled: Any) -> None:
    data, kind, file = spelled("inlineData"), spelled("mimeType"), spelled("fileData")
    uri = "file_uri" if spelled is not str else "fileUri"
    at = "contents[0].parts[0]"
    table: list[tuple[Json, Any]] = [
        ({data: {kind: "image/png", "data": "AA=="}}, Image(Source("base64", "AA==", "image/png"), at)),
        ({data: {kind: "audio/wav", "data": "AA=="}}, Audio("AA==", "wav", at)),
        ({data: {kind: "application/pdf", "data": "-_8="}},
         Document(Source("base64", "+/8=", "application/pdf"), at=at)),
        ({file: {kind: "image/png", uri: "https://e.x/a"}}, Image(Source("url", "https://e.x/a", "image/png"), at)),
        ({file: {uri: "gs://b/a.pdf"}}, Document(Source("file", "gs://b/a.pdf", None, "gemini"), at=at)),
        ({"videoMetadata": {"fps": 1}, file: {uri: "https://youtu.be/x"}},
         Document(Source("url", "https://youtu.be/x"), at=at, extra={"videoMetadata": {"fps": 1}})),
        ({"executableCode": {"code": "1"}},
         Opaque("gemini", {"type": "executableCode", "executableCode": {"code": "1"}}, at, essential=True)),
    ]  # fmt: skip
    for part, expected in table:
        assert blocks(part) == [expected]


def test_a_text_alone_is_a_string_and_a_role_may_be_missing() -> None:
    request = parse(contents=[{"parts": [{"text": "a"}]}, {"role": "model", "parts": {"text": "b"}}, HI])
    assert request.messages[1:] == [Message("assistant", "b", "contents[1]"), Message("user", "hi", "contents[2]")]
    assert request.messages[0].content == [Text("a", "contents[0].parts[0]")]


@pytest.mark.parametrize(
    ("instruction", "texts"),
    [
        ({"parts": [{"text": "a"}, {"text": "b"}]}, ["a", "b"]),
        ({"role": "system", "parts": {"text": "a"}}, ["a"]),
        ("a", "a"),
        ({"parts": []}, None),
        (None, None),
    ],
)
def test_system_instruction(instruction: Any, texts: Any) -> None:
    for name in ("systemInstruction", "system_instruction"):
        system = parse(**{name: instruction}).system
        found = system[0].content if system else None
        assert (found if isinstance(found, str) or found is None else [x.text for x in found]) == texts  # type: ignore[union-attr]
        assert not system or system[0].at == name


def test_thoughts_and_signatures() -> None:
    at = [f"contents[0].parts[{i}]" for i in range(4)]
    said = blocks(
        {"text": "t", "thought": True},
        {"text": "a", "thoughtSignature": "S"},
        {"functionCall": {"id": "c", "name": "f", "args": {"x": 1}}, "thought_signature": "T"},
        {"function_call": {"id": "d", "name": "f"}, "thoughtSignature": STAND_IN},
        role="model",
    )
    assert said == [
        Thinking("t", at=at[0]),
        Text("a", at[1]),
        Thinking("", "S", None, "google-gemini-v1", at=at[1]),
        ToolCall("c", "f", input={"x": 1}, at=at[2], signature="T"),
        ToolCall("d", "f", input={}, at=at[3]),
    ]


def test_what_collects_a_stream_in_pieces_is_one_turn() -> None:
    seal = base64.b64encode(b"gw1.s.anthropic-claude-v1.SIG").decode()
    pieces: list[list[Json]] = [
        [{"text": "let ", "thought": True}],
        [{"text": "me see", "thought": True}],
        [{"text": "", "thought": True, "thoughtSignature": seal}],
        [{"text": "a"}],
        [{"text": "b"}],
        [{"functionCall": {"id": "c", "name": "f"}}],
        [{"functionCall": {"id": "d", "name": "f"}}],
        [{"text": ""}],
    ]
    results = [{"functionResponse": {"id": id_, "name": "f", "response": {"output": "x"}}} for id_ in "dc"]
    contents = [HI, *({"role": "model", "parts": parts} for parts in pieces), {"role": "user", "parts": results}]
    _, answer, after = parse(contents=contents).messages
    assert isinstance(answer.content, list)
    thinking, text, *calls = answer.content
    assert isinstance(thinking, Thinking)
    assert (thinking.text, thinking.signature, thinking.signer) == ("let me see", "SIG", "anthropic-claude-v1")
    assert isinstance(text, Text) and text.text == "ab"
    assert [call.id for call in calls if isinstance(call, ToolCall)] == ["c", "d"]
    assert [result.id for result in after.content if isinstance(result, ToolResult)] == ["d", "c"]


def test_a_carrier_and_the_thought_that_it_repeats_are_one() -> None:
    seal = base64.urlsafe_b64encode(b"gw1.s.anthropic-claude-v1.SIG").decode().rstrip("=")
    carried = base64.b64encode(b'gw1.c.[["why","SIG",null,"anthropic-claude-v1"]]').decode()
    call = {"functionCall": {"id": "c", "name": "f"}, "thoughtSignature": carried}
    for shown in ([], [{"text": "why", "thought": True, "thoughtSignature": seal}]):
        thinking, made = blocks(*shown, call, role="model")
        assert (thinking.text, thinking.signature, thinking.signer) == ("why", "SIG", "anthropic-claude-v1")
        assert made.signature is None


@pytest.mark.parametrize(
    ("response", "content", "is_error"),
    [
        ({"output": "x"}, "x", None),
        ({"result": "x"}, "x", None),
        ({"error": "x"}, "x", True),
        ({"error": {"code": 3}}, '{"code":3}', True),
        ({"output": {"a": 1}}, '{"output":{"a":1}}', None),
        ({"error": "x", "output": "y"}, '{"error":"x","output":"y"}', None),
        ({}, "", None),
    ],
)
def test_results(response: Json, content: str, is_error: bool | None) -> None:
    call = {"role": "model", "parts": [{"functionCall": {"name": "f"}}]}
    result = {"functionResponse": {"name": "f", "response": response}}
    [read] = blocks(result, before=[HI, call])
    assert (read.content, read.is_error) == (content, is_error)


def test_calls_without_ids_are_answered_by_name() -> None:
    calls = [{"functionCall": {"name": name}} for name in ("f", "g", "f")]
    results = [{"functionResponse": {"name": name, "response": {"output": name}}} for name in ("g", "f", "f")]
    contents = [HI, {"role": "model", "parts": calls}, {"role": "user", "parts": results}]
    _, answer, after = parse(contents=contents).messages
    ids = [call.id for call in answer.content if isinstance(call, ToolCall)]
    assert len(set(ids)) == 3 and all(ids)
    assert [r.id for r in after.content if isinstance(r, ToolResult)] == [ids[1], ids[0], ids[2]]


def test_media_in_a_result() -> None:
    call = {"role": "model", "parts": [{"functionCall": {"id": "c", "name": "f"}}]}
    part = {"inlineData": {"mimeType": "image/png", "data": "AA==", "displayName": "x"}}
    response = {"id": "c", "name": "f", "response": {"output": "see"}, "parts": [part]}
    [result] = blocks({"functionResponse": response}, before=[HI, call])
    text, image = result.content
    assert (text.text, image.source.data) == ("see", "AA==")


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        ([], "contents: at least one"),
        ([{"role": "owner", "parts": []}], "contents[0].role: expected user or model, got 'owner'"),
        ([{"parts": 3}], "contents[0].parts: expected an array, got an integer"),
        ([{"parts": [3]}], "contents[0].parts[0]: expected an object, got an integer"),
        ([{"parts": [{}]}], "contents[0].parts[0]: the part is empty"),
        ([{"parts": [{"inlineData": {"mimeType": "image/png"}}]}], "contents[0].parts[0].inlineData.data: is missing"),
        ([{"parts": [{"functionCall": {"name": "f"}}]}], "can only be in a model's content"),
        ([{"parts": [{"functionResponse": {"name": "f"}}]}], "answers no functionCall"),
        ([{"parts": [{"text": "t", "thought": True}]}], "only a model's content holds thoughts"),
        ([HI, {"role": "model", "parts": [{"functionResponse": {}}]}], "can only be in a user's content"),
    ],
)
def test_what_the_api_does_not_allow(contents: list[Any], problem: str) -> None:
    with pytest.raises(ProtocolError) as error:
        parse(contents=contents)
    assert problem in str(error.value)


# ---- tools

JSON_SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("declared", "schema"),
    [
        ({"parametersJsonSchema": JSON_SCHEMA}, JSON_SCHEMA),
        ({"parameters_json_schema": JSON_SCHEMA, "parameters": {}}, JSON_SCHEMA),
        ({"parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}}, JSON_SCHEMA),
        ({}, None),
    ],
)
def test_functions(declared: Json, schema: Any) -> None:
    for name in ("functionDeclarations", "function_declarations"):
        [tool] = parse(tools=[{name: [{"name": "f", "description": "d", **declared}]}]).tools
        assert tool == Tool("f", description="d", schema=schema, dialect="gemini", at=f"tools[0].{name}[0]")


def test_tools_that_google_runs() -> None:
    tools = parse(tools=[{"googleSearch": {}}, {"code_execution": {}, "urlContext": {}}]).tools
    assert [(tool.name, tool.kind, tool.native) for tool in tools] == [
        ("web_search", "web_search", {"googleSearch": {}}),
        ("codeExecution", "provider", {"code_execution": {}}),
        ("urlContext", "provider", {"urlContext": {}}),
    ]


@pytest.mark.parametrize(
    ("config", "choice"),
    [
        (None, ToolChoice()),
        ({"mode": "AUTO"}, ToolChoice("auto")),
        ({"mode": "any"}, ToolChoice("required")),
        ({"mode": "ANY", "allowedFunctionNames": ["f"]}, ToolChoice("tool", ["f"])),
        ({"mode": "ANY", "allowed_function_names": ["f", "g"]}, ToolChoice("required", ["f", "g"])),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["f"]}, ToolChoice("auto", ["f"])),
        ({"mode": "NONE"}, ToolChoice("none")),
        ({}, ToolChoice()),
    ],
)
def test_tool_config(config: Any, choice: ToolChoice) -> None:
    tools = [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}]
    assert parse(tools=tools, toolConfig={"functionCallingConfig": config}).tool_choice == choice


@pytest.mark.parametrize("config", [{"mode": "SOMETIMES"}, {"mode": "ANY", "allowedFunctionNames": ["h"]}])
def test_a_choice_that_there_is_not(config: Json) -> None:
    with pytest.raises(ProtocolError, match=r"toolConfig\.functionCallingConfig"):
        parse(toolConfig={"functionCallingConfig": config})


# ---- the configuration


def test_sampling_in_either_spelling() -> None:
    expected = Sampling(9, 0.5, 0.9, 40, ["x"], 7, 0.25, -0.5)
    humps = {"maxOutputTokens": 9, "temperature": 0.5, "topP": 0.9, "topK": 40.0, "stopSequences": ["x"], "seed": 7,
             "frequencyPenalty": 0.25, "presencePenalty": -0.5}  # fmt: skip
    assert parse(generationConfig=humps).sampling == expected
    snakes = {"max_output_tokens": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop_sequences": ["x"], "seed": 7,
              "frequency_penalty": 0.25, "presence_penalty": -0.5}  # fmt: skip
    request = parse(generation_config=snakes)
    assert request.sampling == expected
    assert request.path_of("max_tokens") == "generation_config.max_output_tokens"


@pytest.mark.parametrize(
    ("config", "reasoning", "shown"),
    [
        (None, Reasoning(), False),
        ({"includeThoughts": True}, Reasoning(display="summarized"), True),
        ({"thinkingBudget": 0}, Reasoning("off", exclude=True), False),
        ({"thinkingBudget": -1, "includeThoughts": True}, Reasoning("adaptive", display="summarized"), True),
        ({"thinking_budget": 512}, Reasoning("budget", None, 512, exclude=True), False),
        ({"thinkingLevel": "LOW"}, Reasoning(None, "low", exclude=True), False),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, Reasoning(exclude=True), False),
    ],
)
def test_thinking(config: Any, reasoning: Reasoning, shown: bool) -> None:
    request = parse(generationConfig={"thinkingConfig": config})
    assert (request.reasoning, request.client_state.thoughts) == (reasoning, shown)


@pytest.mark.parametrize(
    ("config", "output"),
    [
        ({}, None),
        ({"responseMimeType": "text/plain"}, None),
        ({"responseMimeType": "application/json"}, Output("json_object")),
        ({"responseMimeType": "application/json", "responseJsonSchema": JSON_SCHEMA},
         Output("json_schema", JSON_SCHEMA)),
        ({"response_mime_type": "application/json", "response_schema": {"type": "STRING"}},
         Output("json_schema", {"type": "string"})),
    ],
)  # fmt: skip
def test_output(config: Json, output: Output | None) -> None:
    assert parse(generationConfig=config).output == output


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"generationConfig": {"candidateCount": 2}}, "generationConfig.candidateCount: more than one candidate"),
        ({"generation_config": {"response_logprobs": True}}, "generation_config.response_logprobs: logprobs are"),
        ({"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}}, "output of another kind than text"),
        ({"generationConfig": {"responseMimeType": "text/x.enum"}}, "one of several words"),
        ({"cachedContent": "cachedContents/1"}, "cachedContent is not supported"),
        ({"contents": [{"parts": [{"fileData": {"fileUri": "gs://b/a.png", "mimeType": "image/png"}}]}]}, "file ids"),
        ({"contents": [{"parts": [{"executableCode": {"code": "x"}}]}]}, "content of type 'executableCode'"),
        ({"tools": [{"codeExecution": {}}]}, "the tool 'codeExecution' is not supported"),
        ({"generationConfig": {"maxOutputTokens": 0}}, "generationConfig.maxOutputTokens: must be at least 1"),
    ],
)
@pytest.mark.parametrize(("upstream", "provider"), [(CHAT, "openai"), (MESSAGES, "anthropic")])
def test_what_another_upstream_cannot_do_is_refused_in_this_apis_words(
    members: Json, problem: str, upstream: str, provider: str
) -> None:
    with pytest.raises(Refused) as refused:
        from_gemini(upstream, {"contents": [HI], **members}, provider)
    error = json.loads(refused.value.body)["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert problem in error["message"]


def test_what_only_tunes_is_reported() -> None:
    members = {
        "safetySettings": [{"category": "x"}], "labels": {"a": "b"}, "x_new": 1, "serviceTier": "flex",
        "generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW", "topK": 3, "newOne": 1},
        "toolConfig": {"retrievalConfig": {"languageCode": "de"}},
    }  # fmt: skip
    t, sent = from_gemini(CHAT, {"contents": [HI], **members}, "openai")
    assert sent["service_tier"] == "flex"
    assert reported(t) == {
        "safetySettings:dropped", "labels:dropped", "x_new:dropped", "generationConfig.mediaResolution:dropped",
        "generationConfig.newOne:dropped", "generationConfig.topK:dropped", "toolConfig.retrievalConfig:dropped",
    }  # fmt: skip
    assert reported(from_gemini(CHAT, {"contents": [HI], "safetySettings": [], "labels": {}}, "openai")[0]) == set()


def test_whole_requests_to_other_apis() -> None:
    body = {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            HI,
            {"role": "model", "parts": [{"functionCall": {"id": "c", "name": "f", "args": {"a": "x"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"id": "c", "name": "f", "response": {"error": "no"}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": JSON_SCHEMA}]}],
        "generationConfig": {"maxOutputTokens": 9, "stopSequences": ["END"]},
    }
    _, chat = from_gemini(CHAT, body, "openai", model="gpt-4o")
    assert chat == {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":"x"}'}}]},
            {"role": "tool", "tool_call_id": "c", "content": "Error: no"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": JSON_SCHEMA}}],
        "max_completion_tokens": 9, "stop": ["END"],
    }  # fmt: skip
    _, messages = from_gemini(MESSAGES, body, "anthropic", model="claude-sonnet-4-5")
    assert messages["messages"][1:] == [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {"a": "x"}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "c", "content": "no", "is_error": True}]},
    ]  # fmt: skip


# ---- counting


@pytest.mark.parametrize("wrap", [False, True])
def test_an_estimate_where_nobody_counts(wrap: bool) -> None:
    body: Json = {"contents": [{"parts": [{"text": "word " * 400}]}]}
    if wrap:
        body = {"generateContentRequest": {"model": "models/m", **body}}
    path = "/v1beta/models/m:countTokens"
    counted = json.loads(DIALECT.estimate(ClientCall("POST", path, [], json.dumps(body).encode())))
    assert counted == {"totalTokens": 504}
