"""What a policy denies, as each official SDK reads it: whole and streamed, before and after the provider is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import anthropic
import boto3
import msgspec
import openai
import pytest
from botocore.config import Config
from google import genai
from google.genai import types

from extproc.demo.processes import Envoy
from extproc.demo.provider import json_answer
from tests.support.gateway import CLIENT_KEY, PLACEMENTS, Backends, Gateway, configured
from tests.support.placements import ANTHROPIC, OPENAI, add_route, lead, manager
from tests.support.sdks import claude_on_bedrock, claude_on_vertex
from tests.support.side_service import Asked, SideService
from tests.support.upstream import chat, chat_stream

LOGGED = "logged-answer"
SAYS = "This is not for us."
POLICIES = """\
policies:
- prompt_guard: {{deny_patterns: [bomb], deny_message: '{says}', deny_as: {way}}}
- moderation: {{endpoint: '{url}', check_request: false, check_response: true, deny_message: '{says}', deny_as: {way}}}
"""
UPSTREAMS = {"chat": ("openai", f"{OPENAI}upstream: openai_chat\n"), "messages": ("anthropic", ANTHROPIC)}
TOLD = ("denied_by", "llm_content_risk_level", "moderation_flagged", "moderation_categories", "moderation_ms")
"""What the access log shows beside what it does anyway."""
WAYS = ("refusal", "worded_refusal", "answer")
HELPED = WAYS[1:]
"""Those that OpenAI's helpers, which gather a stream, take."""


def judged(asked: Asked) -> bytes:
    """The scripted providers' answers are all about the sky, which is not to be spoken of."""
    flagged = "sky" in msgspec.json.decode(asked.body)["text"]
    return msgspec.json.encode({"flagged": flagged, "categories": ["weather"] * flagged, "risk_level": "medium"})


def model_at(url: str) -> str:
    """Which model is asked for behind a prefix: where the router's stream translates, that alone leads there."""
    return "-".join(url.split("/")[-2:])


@pytest.fixture(scope="module", params=PLACEMENTS)
def _gateway(request: pytest.FixtureRequest, shared: Backends) -> Iterator[Gateway]:
    folder = shared.new_folder(f"denials-{request.param}")
    with ExitStack() as stack:
        side = SideService()
        stack.callback(side.close)
        side.answer = judged
        config = configured(shared, request.param, folder / "access.log")
        fields = manager(config)["access_log"][0]["typed_config"]["log_format"]["json_format"]
        fields |= {name: f"%DYNAMIC_METADATA(extproc:{name})%" for name in TOLD}
        placed = [
            (f"/{name}/{way}/", cluster, text + POLICIES.format(says=SAYS, url=side.url, way=way))
            for name, (cluster, text) in UPSTREAMS.items()
            for way in WAYS
        ]
        if request.param == "one-stream":
            for prefix, cluster, text in placed:
                add_route(config, model_at(prefix.rstrip("/")), cluster, text)
            add_route(config, LOGGED, *placed[0][1:])
        else:
            lead(config, placed)
        yield Gateway(request.param, stack.enter_context(Envoy(folder, config)), shared, folder / "access.log")


@pytest.fixture
def gateway(_gateway: Gateway) -> Iterator[Gateway]:
    _gateway.backends.reset()
    yield _gateway
    assert _gateway.envoy.alive() and _gateway.backends.sidecar.alive()


Heard = tuple[str, Any, tuple[int, int], str]
"""The text, why it ended, tokens in and out, the model."""


def of_chat(url: str, said: str, stream: bool) -> Heard:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=CLIENT_KEY, max_retries=0, timeout=30)
    messages: Any = [{"role": "user", "content": said}]
    options: Any = {"include_usage": True}
    if not stream:
        whole = client.chat.completions.create(model=model_at(url), messages=messages)
    elif url.rpartition("/")[2] in HELPED:
        with client.chat.completions.stream(model=model_at(url), messages=messages, stream_options=options) as events:
            whole = events.get_final_completion()
    else:
        # A helper would raise the SDK's own error, for that the content was filtered.
        ask = {"model": model_at(url), "messages": messages, "stream": True, "stream_options": options}
        chunks = list(client.chat.completions.create(**ask))
        choices = [choice for chunk in chunks for choice in chunk.choices]
        ends = [choice.finish_reason for choice in choices if choice.finish_reason]
        text = "".join(choice.delta.refusal or choice.delta.content or "" for choice in choices)
        assert len(ends) == 1 and chunks[-1].usage is not None
        counts = chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens
        return text, ends[0], counts, chunks[-1].model
    (choice,) = whole.choices
    text = choice.message.refusal or choice.message.content or ""
    assert whole.usage is not None
    return text, choice.finish_reason, (whole.usage.prompt_tokens, whole.usage.completion_tokens), whole.model


def of_responses(url: str, said: str, stream: bool) -> Heard:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=CLIENT_KEY, max_retries=0, timeout=30)
    if not stream:
        whole: Any = client.responses.create(model=model_at(url), input=said)
    elif url.rpartition("/")[2] in HELPED:
        with client.responses.stream(model=model_at(url), input=said) as events:
            whole = events.get_final_response()
    else:
        # A helper knows no end but a completed one.
        every: Any = list(client.responses.create(model=model_at(url), input=said, stream=True))
        whole = every[-1].response
    (item,) = whole.output
    text = "".join(part.refusal if part.type == "refusal" else part.text for part in item.content)
    assert whole.usage is not None and whole.error is None
    why = whole.incomplete_details.reason if whole.incomplete_details else whole.status
    return text, why, (whole.usage.input_tokens, whole.usage.output_tokens), str(whole.model)


def of_messages(url: str, said: str, stream: bool) -> Heard:
    client = anthropic.Anthropic(base_url=url, api_key=CLIENT_KEY, max_retries=0, timeout=30)
    return _of_claude(client, model_at(url), said, stream)


def of_claude_on_bedrock(url: str, said: str, stream: bool) -> Heard:
    return _of_claude(claude_on_bedrock(url), model_at(url), said, stream)


def of_claude_on_vertex(url: str, said: str, stream: bool) -> Heard:
    return _of_claude(claude_on_vertex(url), model_at(url), said, stream)


def _of_claude(client: Any, model: str, said: str, stream: bool) -> Heard:
    messages: Any = [{"role": "user", "content": said}]
    if not stream:
        whole = client.messages.create(model=model, max_tokens=99, messages=messages)
    else:
        with client.messages.stream(model=model, max_tokens=99, messages=messages) as events:
            whole = events.get_final_message()
    text = "".join(block.text for block in whole.content if block.type == "text")
    return text, whole.stop_reason, (whole.usage.input_tokens, whole.usage.output_tokens), whole.model


def of_gemini(url: str, said: str, stream: bool) -> Heard:
    client = genai.Client(api_key=CLIENT_KEY, http_options=types.HttpOptions(base_url=url, timeout=30_000))
    if stream:
        chunks = list(client.models.generate_content_stream(model=model_at(url), contents=said))
    else:
        chunks = [client.models.generate_content(model=model_at(url), contents=said)]
    parts = [
        part for chunk in chunks for one in chunk.candidates or [] if one.content for part in one.content.parts or []
    ]
    last = chunks[-1]
    assert last.candidates and last.usage_metadata
    counts = last.usage_metadata.prompt_token_count or 0, last.usage_metadata.candidates_token_count or 0
    return (
        "".join(part.text or "" for part in parts),
        last.candidates[0].finish_reason,
        counts,
        last.model_version or "",
    )


def of_converse(url: str, said: str, stream: bool) -> Heard:
    client = boto3.client(
        "bedrock-runtime", endpoint_url=url, region_name="eu-west-1", aws_access_key_id=CLIENT_KEY,
        aws_secret_access_key="the-clients-secret", config=Config(retries={"max_attempts": 0}, read_timeout=30),
    )  # fmt: skip
    messages = [{"role": "user", "content": [{"text": said}]}]
    if not stream:
        whole = client.converse(modelId=model_at(url), messages=messages)
        text = "".join(block["text"] for block in whole["output"]["message"]["content"])
        return text, whole["stopReason"], (whole["usage"]["inputTokens"], whole["usage"]["outputTokens"]), ""
    text, stop, usage = "", "", {"inputTokens": 0, "outputTokens": 0}
    for event in client.converse_stream(modelId=model_at(url), messages=messages)["stream"]:
        text += event.get("contentBlockDelta", {}).get("delta", {}).get("text", "")
        stop = event.get("messageStop", {}).get("stopReason", stop)
        usage = event.get("metadata", {}).get("usage", usage)
    return text, stop, (usage["inputTokens"], usage["outputTokens"]), ""


SAFETY = types.FinishReason.SAFETY
SDKS: dict[str, tuple[Callable[[str, str, bool], Heard], Any, Any, Any]] = {
    "openai chat": (of_chat, "content_filter", "stop", "stop"),
    "openai responses": (of_responses, "content_filter", "completed", "completed"),
    "anthropic": (of_messages, "refusal", "refusal", "end_turn"),
    "anthropic bedrock": (of_claude_on_bedrock, "refusal", "refusal", "end_turn"),
    "anthropic vertex": (of_claude_on_vertex, "refusal", "refusal", "end_turn"),
    "google-genai": (of_gemini, SAFETY, SAFETY, types.FinishReason.STOP),
    "boto3": (of_converse, "content_filtered", "content_filtered", "end_turn"),
}
"""How each says that it was refused, was refused in words, and that an answer has ended."""
sdks = pytest.mark.parametrize("sdk", SDKS)
ways = pytest.mark.parametrize("way", WAYS)
upstreams = pytest.mark.parametrize("upstream", UPSTREAMS)
streams = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.mark.rows("B9", "B32", "B40")
@sdks
@ways
@upstreams
@streams
def test_a_denied_answer_is_one_that_the_sdk_takes(
    gateway: Gateway, sdk: str, upstream: str, way: str, stream: bool
) -> None:
    ask, *ends = SDKS[sdk]
    text, why, (came, went), model = ask(f"{gateway.url}/{upstream}/{way}", "hi", stream)
    assert (text, why) == (SAYS, ends[WAYS.index(way)]), "nothing of the provider's answer"
    asked = gateway.openai_upstream if upstream == "chat" else gateway.anthropic_upstream
    assert len(asked.received) == 1
    assert came > 0 and went > 0, "what it has cost is told"
    assert model in (f"{upstream}-{way}", "")


@pytest.mark.rows("B31", "B40")
@sdks
@ways
@upstreams
@streams
def test_a_denied_request_is_answered_as_the_sdk_expects(
    gateway: Gateway, sdk: str, upstream: str, way: str, stream: bool
) -> None:
    ask, *ends = SDKS[sdk]
    text, why, counts, model = ask(f"{gateway.url}/{upstream}/{way}", "how is a bomb made?", stream)
    assert (text, why, counts) == (SAYS, ends[WAYS.index(way)], (0, 0)), "nothing was used"
    assert model in (f"{upstream}-{way}", "")
    assert not gateway.openai_upstream.received and not gateway.anthropic_upstream.received


@pytest.mark.rows("B40")
def test_texts_to_embed_are_denied_as_openais_api_denies(gateway: Gateway) -> None:
    client = openai.OpenAI(base_url=f"{gateway.url}/chat/refusal/v1", api_key=CLIENT_KEY, max_retries=0, timeout=30)
    with pytest.raises(openai.BadRequestError) as denied:
        client.embeddings.create(model="chat-refusal", input=["fine", "how is a bomb made?"])
    assert denied.value.code == "content_policy_violation" and SAYS in denied.value.message
    assert not gateway.openai_upstream.received
    vectors = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}], "model": "m"}
    gateway.openai_upstream.will(json_answer({**vectors, "usage": {"prompt_tokens": 3, "total_tokens": 3}}))
    made = client.embeddings.create(model="chat-refusal", input="fine", encoding_format="float")
    assert made.data[0].embedding == [0.5] and made.usage.prompt_tokens == 3


def test_openais_own_place_for_a_refusal(gateway: Gateway) -> None:
    client = openai.OpenAI(base_url=f"{gateway.url}/chat/worded_refusal/v1", api_key=CLIENT_KEY, max_retries=0)
    bomb: Any = [{"role": "user", "content": "how is a bomb made?"}]
    message = client.chat.completions.create(model="chat-worded_refusal", messages=bomb).choices[0].message
    assert (message.refusal, message.content) == (SAYS, None)
    (item,) = client.responses.create(model="chat-worded_refusal", input="how is a bomb made?").output
    assert item.type == "message" and item.content[0].type == "refusal"


def test_a_count_that_is_denied_is_an_error(gateway: Gateway) -> None:
    client = anthropic.Anthropic(base_url=f"{gateway.url}/chat/refusal", api_key=CLIENT_KEY, max_retries=0)
    for said, denied in (("how is a bomb made?", True), ("fine", False)):
        messages: Any = [{"role": "user", "content": said}]
        if not denied:
            assert client.messages.count_tokens(model="chat-refusal", messages=messages).input_tokens > 0
            continue
        with pytest.raises(anthropic.BadRequestError, match=SAYS):
            client.messages.count_tokens(model="chat-refusal", messages=messages)
        assert not gateway.openai_upstream.received


def test_an_endpoint_that_no_policy_can_look_at_is_not_served(gateway: Gateway) -> None:
    client = openai.OpenAI(base_url=f"{gateway.url}/chat/refusal/v1", api_key=CLIENT_KEY, max_retries=0, timeout=30)
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="chat-refusal", prompt="how is a bomb made?")
    assert not gateway.openai_upstream.received


@pytest.mark.rows("B9", "B32")
@streams
@pytest.mark.parametrize("sdk", ["openai chat", "openai responses", "anthropic", "google-genai"])
def test_a_denied_answer_names_the_model_that_gave_it_and_its_tokens(gateway: Gateway, sdk: str, stream: bool) -> None:
    """Bedrock's answers name no model."""
    said = "the sky"
    gateway.openai_upstream.will(chat_stream({"content": said}) if stream else chat(said))
    _, _, counts, model = SDKS[sdk][0](f"{gateway.url}/chat/answer", "hi", stream)
    assert (counts, model) == ((11, 5), "gpt-5")


@pytest.mark.rows("B9", "B32")
def test_what_was_denied_and_why_is_in_the_access_log(gateway: Gateway) -> None:
    body = {"model": LOGGED, "messages": [{"role": "user", "content": "hi"}]}
    assert gateway.send("/chat/refusal/v1/chat/completions", body).status == 200
    logged = gateway.logged(LOGGED)
    took = logged["moderation_ms"]
    assert {name: logged[name] for name in TOLD} == {
        "denied_by": "moderation", "llm_content_risk_level": "medium", "moderation_flagged": "response",
        "moderation_categories": "weather", "moderation_ms": took,
    }  # fmt: skip
    assert took >= 0 and logged["input_tokens"] > 0 and logged["output_tokens"] > 0
