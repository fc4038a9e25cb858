"""Streams of servers that speak Chat, each in its own way, and whole answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.dialects.base import Undo
from extproc.llm import events as e
from extproc.llm.events import StopReason
from extproc.llm.failures import ErrorKind
from extproc.llm.request import Sampling

from .helpers import GOLDEN, JSON, call_delta, chunk, golden, read, stream_of, whole

END = StopReason.END
TOOL = StopReason.TOOL_CALL


def usage(events: e.ResponseEnded) -> tuple[int | None, ...]:
    counts = events.usage
    return (counts.input_tokens, counts.output_tokens, counts.cache_read_tokens, counts.reasoning_tokens)


# ---- real servers' streams, from files


@pytest.mark.parametrize(
    ("name", "blocks", "stop", "counts"),
    [
        ("text", [("text", "Grüße aus 東京 👋🏽, how can I help?")], END, (1117, 46, 1024, 0)),
        ("moderation_after_usage", [("text", "Fine.")], END, (1117, 46, 1024, 0)),
        ("refusal", [("refusal", "I'm sorry, I can't help with that.")], StopReason.REFUSAL, (1117, 46, 1024, 0)),
        (
            "tools_interleaved",
            [
                ("text", "Let me look."),
                ("call", "call_a1", "get_weather", '{"city":"München"}'),
                ("call", "call_b2", "read_file", '{"path":"/tmp/a \\"b\\".txt"}'),
            ],
            TOOL,
            (310, 220, 0, 128),
        ),
        (
            "tools_no_arguments",
            [("call", "call_1", "now", ""), ("call", "call_2", "get_weather", '{"city":"Rome"}')],
            END,
            (None, None, None, None),
        ),
        ("function_call", [("call", "fc_0", "f", '{"q":1}')], TOOL, (None, None, None, None)),
        ("azure_filters", [("text", "Sicher.")], END, (20, 3, None, None)),
        ("azure_filtered", [("text", "Well")], StopReason.REFUSAL, (None, None, None, None)),
        ("deepseek_reasoning", [("thinking", "First, I add 1 and 1…"), ("text", "It is 2.")], END, (14, 30, 10, 20)),
        (
            "openrouter",
            [
                ("thinking", "The user wants weather.", "EqQBCkgIBxABGAIiQL"),
                ("text", "Checking."),
                ("call", "toolu_01A", "get_weather", '{"city": "Paris"}'),
            ],
            TOOL,
            (400, 80, 0, 12),
        ),
        (
            "gemini_no_index",
            [
                ("text", "I will check both."),
                ("call", "function-call-11", "get_weather", '{"city":"Paris"}'),
                ("call", "function-call-12", "get_weather", '{"city":"Oslo"}'),
                ("call", "function-call-13", "now", "{}"),
            ],
            END,
            (90, 34, None, None),
        ),
        (
            "bridge_index_zero",
            [("call", "c1", "f", '{"q":1}'), ("call", "c2", "f", '{"q":2}')],
            TOOL,
            (None, None, None, None),
        ),
        (
            "mistral_lists",
            [("thinking", "Okay, so the answer…"), ("text", "Bonjour !")],
            StopReason.MAX_TOKENS,
            (10, 512, None, None),
        ),
        ("groq", [("call", "fk1", "f", '{"q":"a"}')], TOOL, (20, 9, None, None)),
        (
            "kimi",
            [("thinking", "Need the file."), ("call", "functions.read_file:0", "read_file", '{"path": "a"}')],
            TOOL,
            (99, 22, 64, None),
        ),
        (
            "vllm_reasoning_usage_everywhere",
            [("thinking", "Hmm.\n"), ("text", "\n\nHi there")],
            END,
            (31, 5, None, None),
        ),
        ("no_finish_done", [("text", "Hi you")], StopReason.OTHER, (None, None, None, None)),
        ("name_repeated", [("call", "call_r", "f", '{"q":"x"}')], TOOL, (5, 6, None, None)),
        ("annotations", [("text", "Paris won ([e.x](https://e.x/a)).")], END, (None, None, None, None)),
        ("details_only", [("thinking", "Let me think."), ("text", "Done")], END, (None, None, None, None)),
    ],
)
@pytest.mark.rows("F6")
def test_golden(name: str, blocks: list[Any], stop: StopReason, counts: tuple[Any, ...]) -> None:
    got = golden(name)
    # A scheme without a seal says nothing.
    assert [block[:2] if block[0] == "thinking" and block[-1] is None else block for block in got.gist] == blocks
    assert got.ended.stop is stop
    assert usage(got.ended) == counts


@pytest.mark.parametrize(
    ("name", "blocks", "kind", "message", "code"),
    [
        ("groq_error", [("text", "<func")], ErrorKind.INVALID_REQUEST, "Failed to parse tool call", "tool_use_failed"),
        ("error_midstream", [("text", "Half a")], ErrorKind.API, "Provider disconnected", None),
        (
            "truncated",
            [("text", "One, two,"), ("call", "call_x", "f", '{"a":')],
            ErrorKind.API,
            "upstream stream ended prematurely",
            "stream_truncated",
        ),
    ],
)
def test_golden_that_fails(name: str, blocks: list[Any], kind: ErrorKind, message: str, code: str | None) -> None:
    got = golden(name)
    assert got.gist == blocks
    assert got.failed.kind is kind
    assert got.failed.message.startswith(message)
    assert got.failed.code == code
    assert got.folded.ended is None


def test_what_the_golden_streams_say_besides() -> None:
    assert golden("text").folded.started == e.ResponseStarted(
        "chatcmpl-CeP2aYx7mQk4", "gpt-4o-2024-08-06", created=1795238400
    )
    assert golden("text").ended.service_tier == "standard"
    assert golden("tools_interleaved").ended.service_tier == "priority"
    assert golden("tools_interleaved").ended.usage.cache_write_tokens == 256
    assert golden("openrouter").ended.native_reason == "tool_use"
    assert golden("openrouter").folded.started.extra == {"provider": "Anthropic"}  # type: ignore[union-attr]
    assert golden("openrouter").live.count(e.KeepAlive()) == 3
    signed = next(x for x in golden("openrouter").events if isinstance(x, e.ThinkingSealed))
    assert signed.signer == "anthropic-claude-v1"
    call = next(x for x in golden("gemini_no_index").events if isinstance(x, e.ToolCallStarted))
    assert (call.signature, call.extra) == ("CiQB0e2Kb1", None)
    cited = next(x.citation for x in golden("annotations").events if isinstance(x, e.CitationAdded))
    assert (cited.kind, cited.url, cited.title, cited.start, cited.end) == ("url", "https://e.x/a", "E", 10, 32)
    assert golden("azure_filters").folded.started.id == "chatcmpl-Az1"  # type: ignore[union-attr]


# ---- the order of a stream


def test_a_stream_as_events() -> None:
    data = stream_of(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "a"}),
        chunk({"content": "b"}),
        chunk(call_delta(0, "t1", "f", "")),
        chunk(call_delta(0, arguments="{}")),
        chunk({}, "tool_calls"),
    )
    assert read(data).events == [
        e.ResponseStarted("c1", "m", created=7),
        e.TextStarted(0),
        e.TextDelta(0, "a"),
        e.TextDelta(0, "b"),
        e.BlockEnded(0),
        e.ToolCallStarted(1, "t1", "f"),
        e.ToolInputDelta(1, "{}"),
        e.BlockEnded(1),
        e.ResponseEnded(TOOL, native_reason="tool_calls"),
    ]


def test_another_input_for_a_call_that_is_over_fails_visibly() -> None:
    data = stream_of(
        chunk(call_delta(0, "t1", "f", '{"a":1}')),
        chunk({"content": "wait"}),
        chunk(call_delta(0, arguments='{"a":2}')),
        chunk({}, "tool_calls"),
    )
    got = read(data)
    assert "which was over" in got.failed.message
    assert got.failed.status == 502


@pytest.mark.parametrize("finish", ["tool_calls", "stop"])
def test_half_an_input_is_never_told_as_whole(finish: str) -> None:
    half = chunk(call_delta(0, "t1", "f", '{"a":'))
    assert "not whole" in read(stream_of(half, chunk({}, finish))).failed.message
    assert read(stream_of(half, chunk({}, "length"))).ended.stop is StopReason.MAX_TOKENS


def test_blanks_for_a_call_that_is_over_are_nothing() -> None:
    data = stream_of(
        chunk(call_delta(0, "t1", "f", "{}")),
        chunk({"content": "x"}),
        chunk(call_delta(0, arguments=" ")),
        chunk({}, "stop"),
    )
    assert read(data).gist == [("call", "t1", "f", "{}"), ("text", "x")]


def test_arguments_of_other_types() -> None:
    data = stream_of(chunk(call_delta(0, "t1", "f", {"a": [1]})), chunk({}, "tool_calls"))
    assert read(data).gist == [("call", "t1", "f", '{"a":[1]}')]


def test_two_calls_of_one_function_without_ids_and_with_index_zero_are_not_glued() -> None:
    one = {"index": 0, "function": {"name": "f", "arguments": '{"q":1}'}}
    two = {"index": 0, "function": {"name": "f", "arguments": '{"q":2}'}}
    data = stream_of(chunk({"tool_calls": [one]}), chunk({"tool_calls": [two]}), chunk({}, "stop"))
    assert [block[3] for block in read(data).gist] == ['{"q":1}', '{"q":2}']


def test_the_name_may_come_late() -> None:
    data = stream_of(
        chunk(call_delta(0, "t1", "", '{"a"')), chunk(call_delta(0, name="f", arguments=":1}")), chunk({}, "tool_calls")
    )
    assert read(data).gist == [("call", "t1", "f", '{"a":1}')]


def test_a_call_without_a_name_fails_and_an_empty_one_is_nothing() -> None:
    assert "without a name" in read(stream_of(chunk(call_delta(0, "t1", "", "{}")), chunk({}, "stop"))).failed.message
    assert read(stream_of(chunk({"content": "a"} | call_delta(0, "", "", "")), chunk({}, "stop"))).gist == [
        ("text", "a")
    ]


def test_free_form_calls() -> None:
    def item(**custom: str) -> Any:
        return {"tool_calls": [{"index": 0, "id": "t1", "type": "custom", "custom": custom}]}

    data = stream_of(chunk(item(name="py", input="print(")), chunk(item(input="1)")), chunk({}, "tool_calls"))
    got = read(data)
    assert got.gist == [("call", "t1", "py", "print(1)")]
    assert next(x for x in got.events if isinstance(x, e.ToolCallStarted)).kind == "custom"


def test_names_are_undone() -> None:
    undo = Undo({"f_12345678": "a very.long name"})
    got = read(stream_of(chunk(call_delta(0, "t1", "f_12345678", "{}")), chunk({}, "tool_calls")), undo=undo)
    assert got.gist == [("call", "t1", "a very.long name", "{}")]


# ---- the end


def test_ends_with_the_counts_when_the_upstream_lingers() -> None:
    counts = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    data = stream_of(chunk({"content": "a"}), chunk({}, "stop"), chunk(usage=counts) | {"choices": []}, done=False)
    assert isinstance(read(data).live[-1], e.ResponseEnded)
    same_chunk = stream_of(chunk({"content": "a"}), chunk({}, "stop", usage=counts), done=False)
    assert not isinstance(read(same_chunk).live[-1], e.ResponseEnded)
    assert usage(read(same_chunk).ended)[:2] == (1, 2)


def test_the_first_finish_and_the_last_usage_count() -> None:
    one, two = ({"prompt_tokens": 1, "completion_tokens": n, "total_tokens": 1 + n} for n in (1, 2))
    data = stream_of(chunk({"content": "a"}, "length", usage=one), chunk({"content": ""}, "stop", usage=two))
    assert read(data).ended.stop is StopReason.MAX_TOKENS
    assert usage(read(data).ended)[:2] == (1, 2)


def test_content_after_the_end_is_reported() -> None:
    early = chunk({"content": "a"}, "stop")
    assert read(stream_of(early, chunk({"content": "b"}), chunk({}, "stop"))).gist == [("text", "ab")]
    counts = {**chunk(usage={"prompt_tokens": 1}), "choices": []}
    got = read(stream_of(early, counts, chunk({"content": "b"})))
    assert got.gist == [("text", "a")]
    assert [str(loss) for loss in got.report] == ["response.choices[0].delta:dropped"]


def test_nothing_but_the_end_mark_is_no_answer() -> None:
    assert read(b"data: [DONE]\n\n").failed.code == "stream_truncated"
    assert read(b"").failed.code == "stream_truncated"


@pytest.mark.parametrize(
    ("finish", "stop"),
    [
        ("stop", END),
        ("eos", END),
        ("length", StopReason.MAX_TOKENS),
        ("tool_calls", TOOL),
        ("function_call", TOOL),
        ("content_filter", StopReason.REFUSAL),
        ("content_filter: SAFETY", StopReason.REFUSAL),
        ("model_length", StopReason.CONTEXT_EXCEEDED),
        ("weird", StopReason.OTHER),
        ("", StopReason.OTHER),
        ("null", StopReason.OTHER),
        (None, StopReason.OTHER),
    ],
)
def test_finish_reasons(finish: str | None, stop: StopReason) -> None:
    assert read(stream_of(chunk({"content": "a"}), chunk({}, finish))).ended.stop is stop
    assert whole({"content": "a"}, finish).ended.stop is stop


@pytest.mark.parametrize(
    ("members", "stop"),
    [
        ({"finish_reason": {"type": "length"}}, StopReason.MAX_TOKENS),
        ({"finish_reason": ["length"]}, StopReason.MAX_TOKENS),
        ({"finish_details": {"type": "max_tokens"}}, StopReason.MAX_TOKENS),
        ({"delta": {"finish_reason": "length"}, "finish_reason": None}, StopReason.MAX_TOKENS),
        ({"finish_reason": 7}, StopReason.OTHER),
    ],
)
def test_the_finish_word_wherever_it_stands(members: Any, stop: StopReason) -> None:
    last = chunk({})
    last["choices"][0] |= members
    got = read(stream_of(chunk({"content": "a"}), last))
    assert got.ended.stop is stop
    assert ("response.choices[0].finish_reason:dropped" in map(str, got.report)) is (members.get("finish_reason") == 7)


def test_the_finish_word_outside_of_the_choice_and_a_quiet_end_mark() -> None:
    data = stream_of(chunk({"content": "a"}), chunk({"content": "b"}) | {"finish_reason": "length"}, done=False)
    got = read(data + b"data: [done]\n\n")
    assert got.ended.stop is StopReason.MAX_TOKENS and got.gist == [("text", "ab")]


def test_a_call_in_the_old_way_beside_the_new_one_is_one_call() -> None:
    old = {"name": "f", "arguments": '{"a": 1}'}
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    got = whole({"content": None, "tool_calls": [call], "function_call": old}, "tool_calls")
    assert got.gist == [("call", "t1", "f", '{"a":1}')]
    assert "response.choices[0].message.function_call:dropped" in map(str, got.report)
    data = stream_of(
        chunk(call_delta(0, "t1", "f", "") | {"function_call": {"name": "f", "arguments": ""}}),
        chunk(call_delta(0, arguments="{}") | {"function_call": {"arguments": "{}"}}),
        chunk({}, "tool_calls"),
    )
    assert read(data).gist == [("call", "t1", "f", "{}")]
    other = whole({"content": None, "tool_calls": [call], "function_call": {**old, "name": "g"}}, "tool_calls")
    assert [block[2] for block in other.gist] == ["f", "g"]


def test_an_error_of_the_choice_says_why() -> None:
    error = {"code": 502, "message": "the provider died"}
    last = chunk({"content": ""}, "error")
    last["choices"][0]["error"] = error
    assert read(stream_of(chunk({"content": "a"}), last)).failed.message == "the provider died"
    got = whole({"content": "a"}, "error", choice={"error": error}).failed
    assert (got.message, got.kind) == ("the provider died", ErrorKind.API)


def test_a_message_alone_is_an_error() -> None:
    got = read(json.dumps({"data": None, "code": 500, "msg": "boom"}).encode(), headers=JSON)
    assert got.failed.message == "boom"


def test_calls_in_an_object_by_their_indexes() -> None:
    named = {"0": {"id": "a", "function": {"name": "f"}}, "1": {"id": "b", "function": {"name": "g"}}}
    more = {"1": {"function": {"arguments": "{}"}}}
    data = stream_of(chunk({"tool_calls": named}), chunk({"tool_calls": more}), chunk({}, "tool_calls"))
    assert [block[1:3] for block in read(data).gist] == [("a", "f"), ("b", "g")]


def test_a_bracket_too_many_is_left_out_and_reported() -> None:
    data = stream_of(chunk(call_delta(0, "t1", "f", '{"a":1}')), chunk(call_delta(0, arguments="}")),
                     chunk({}, "tool_calls"))  # fmt: skip
    got = read(data)
    assert got.gist == [("call", "t1", "f", '{"a":1}')] and "response.tool_calls:dropped" in map(str, got.report)


@pytest.mark.parametrize(
    ("finish", "kind"), [("error", ErrorKind.API), ("insufficient_system_resource", ErrorKind.OVERLOADED)]
)
def test_an_answer_that_was_broken_off_is_not_complete(finish: str, kind: ErrorKind) -> None:
    assert read(stream_of(chunk({"content": "a"}), chunk({}, finish))).failed.kind is kind
    assert whole({"content": "a"}, finish).failed.kind is kind


def test_the_stop_sequence_that_vllm_names() -> None:
    sampling = Sampling(stop=["END"])
    got = whole({"content": "a"}, choice={"stop_reason": "END"}, options={"sampling": sampling}).ended
    assert (got.stop, got.stop_sequence) == (StopReason.STOP_SEQUENCE, "END")
    other = whole({"content": "a"}, choice={"stop_reason": "<|im_end|>"}, options={"sampling": sampling}).ended
    assert (other.stop, other.stop_sequence) == (END, None)
    assert whole({"content": "a"}, choice={"stop_reason": 151643}).ended.stop is END


def test_a_limit_that_hides_behind_tool_calls() -> None:
    def stop(arguments: str, tokens: int) -> StopReason:
        call = {"id": "t", "type": "function", "function": {"name": "f", "arguments": arguments}}
        counts = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": 1 + tokens}
        sampling = {"sampling": Sampling(max_tokens=10)}
        return whole({"tool_calls": [call]}, "tool_calls", usage=counts, options=sampling).ended.stop

    assert stop('{"a":', 10) is StopReason.MAX_TOKENS
    assert stop('{"a":', 9) is TOOL
    assert stop('{"a":1}', 10) is TOOL


# ---- errors in a stream


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        ({"error": {"message": "x", "type": "server_error", "code": None}}, ErrorKind.API),
        ({"error": {"message": "x", "code": 429}}, ErrorKind.RATE_LIMIT),
        ({"error": {"message": "x", "code": 503}, "choices": [{"delta": {"content": ""}}]}, ErrorKind.OVERLOADED),
        ({"error": "x"}, ErrorKind.API),
        ({"object": "error", "message": "x", "type": "BadRequestError", "code": 400}, ErrorKind.INVALID_REQUEST),
        ({"detail": "x"}, ErrorKind.API),
    ],
)
def test_errors_in_a_stream(item: Any, kind: ErrorKind) -> None:
    got = read(stream_of(chunk({"content": "a"}), item))
    assert (got.failed.kind, got.failed.message, got.failed.status) == (kind, "x", None)
    assert got.gist == [("text", "a")]
    assert read(stream_of(item)).failed.kind is kind


def test_chunks_that_are_no_chunks() -> None:
    broken = read(stream_of(chunk({"content": "a"}), "data: {bad", chunk({"content": "b"}), chunk({}, "stop")))
    assert broken.gist == [("text", "a")] and "not JSON" in broken.failed.message
    pings = ["data: ping", "event: status\ndata: queued", "event: ping\ndata: {bad", ": x"]
    ok = read(stream_of(*pings, chunk({"content": "a"}), *pings, chunk({}, "stop")))
    assert ok.gist == [("text", "a")]
    assert "expected an object" in read(stream_of("data: 3")).failed.message
    assert "expected an array" in read(stream_of(chunk({"tool_calls": {"a": 1}}))).failed.message


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": None},
        {"choices": [None]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": "x"}]},
        {"choices": [{"delta": {"content": 3, "reasoning": [], "reasoning_details": 3, "tool_calls": None}}]},
        {"choices": [{"delta": {"tool_calls": [None, {"function": None}], "function_call": None}}]},
        {"choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": "length"}]},
        {"choices": [{"delta": {"content": [3, {"type": "text", "text": None}, {"type": "reference"}]}}]},
        {"choices": [{"delta": {"annotations": [3, {"type": "url_citation"}]}}]},
        {"usage": "none", "choices": []},
        {"usage": {"prompt_tokens": "1"}},
        {"x_groq": 3},
        {"id": 3, "model": None},
    ],
    ids=repr,
)
def test_odd_members_do_no_harm(odd: Any) -> None:
    got = read(stream_of(odd, chunk({"content": "a"}), odd, chunk({}, "stop"), odd))
    assert got.gist == [("text", "a")]
    assert got.ended.stop is END


# ---- whole answers


def test_a_whole_answer() -> None:
    got = whole(
        {
            "role": "assistant",
            "content": "see",
            "reasoning_content": "why",
            "annotations": [{"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 3, "url": "u"}}],
            "tool_calls": [
                {"id": "same", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
                {"id": "same", "type": "function", "function": {"name": "g", "arguments": ""}},
            ],
        },
        "tool_calls",
        usage={"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        service_tier="flex",
        x_new=1,
        nothing=None,
    )
    assert got.gist == [
        ("thinking", "why"),
        ("text", "see"),
        ("call", "same", "f", '{"a":1}'),
        ("call", "same_3efc68ed", "g", ""),
    ]
    assert got.folded.started == e.ResponseStarted("c1", "m", created=7, extra={"x_new": 1})
    assert got.ended.service_tier == "flex"
    assert usage(got.ended) == (3, 4, None, None)


def test_a_whole_answer_with_many_calls() -> None:
    calls = [{"id": f"t{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in range(300)]
    assert len(whole({"tool_calls": calls}, "tool_calls").gist) == 300


def test_a_refusal_and_a_filter() -> None:
    said = whole({"content": None, "refusal": "No."})
    assert said.gist == [("refusal", "No.")]
    assert (said.ended.stop, said.ended.explanation) == (StopReason.REFUSAL, "No.")
    filtered = whole({"content": "a", "refusal": "Declined."}, "content_filter")
    assert filtered.gist == [("text", "a")]
    assert (filtered.ended.stop, filtered.ended.explanation) == (StopReason.REFUSAL, "Declined.")


def test_bodies_that_are_no_answer() -> None:
    bodies: list[Any] = [{"choices": []}, {"choices": None, "id": "x"}, {"id": "x"}]
    for body in bodies:
        got = read(json.dumps(body).encode(), headers=JSON)
        assert (got.failed.status, got.failed.code) == (502, "upstream_error")
    limited = read(b'{"error": {"message": "slow", "code": 429}}', headers=JSON)
    assert limited.failed.kind is ErrorKind.RATE_LIMIT
    for body in ({"detail": "gone"}, {"message": "gone"}, {"object": "error", "message": "gone"}):
        assert read(json.dumps(body).encode(), headers=JSON).failed.message == "gone"
    assert whole({}, "stop").gist == []
    assert read(b'{"choices":[{"message":null,"finish_reason":"stop"}]}', headers=JSON).ended.stop is END


def test_an_error_by_status() -> None:
    body = json.dumps(
        {"error": {"message": "Rate limit", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}
    )
    got = read(body.encode(), headers=JSON, status=429)
    assert got.failed == e.ResponseFailed(ErrorKind.RATE_LIMIT, "Rate limit", 429, "rate_limit_exceeded")


ODD = [
    '"content":"","role":"assistant"', '"content":"a"', '"content":"b\\n\\"c"', '"content":""',
    '"content":"d","refusal":null', '"content":"e","role":"assistant"',
    '"content":"\\ud83d"', '"content":"\\ude00"', '"content":"\\u0000f"',
    '"content":"g","content":"h"', '"content":"another text"', '"content":null', '"content":"i"',
    '"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{}"}}]', '"content":"j"', '"content":"k"',
]  # fmt: skip
ENDS = ["", ',"usage":null', ',"obfuscation":"aB1"', ',"obfuscation":"","error":null', ',"usage":{"prompt_tokens":1}']


def odd_stream(ends: list[str]) -> bytes:
    chunks = [f'{{"choices":[{{"index":0,"delta":{{{delta}}}}}]{end}}}' for end in ends for delta in ODD]
    return "".join(f"data: {chunk}\n\n" for chunk in [*chunks, "[DONE]"]).encode()


@pytest.mark.parametrize("data", [path.read_bytes() for path in sorted(GOLDEN.glob("*.sse"))])
def test_a_piece_as_the_one_before_says_what_all_of_it_says(data: bytes) -> None:
    assert read(data).events == read(data, by_text=False).events


@pytest.mark.parametrize("first", ENDS)
@pytest.mark.parametrize("second", ENDS)
def test_odd_pieces_say_what_all_of_them_say(first: str, second: str) -> None:
    data = odd_stream([first, second, first])
    by_text, by_all = read(data), read(data, by_text=False)
    assert by_text.events == by_all.events and list(by_text.report) == list(by_all.report)
