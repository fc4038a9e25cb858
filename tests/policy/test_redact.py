from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from extproc import Call
from extproc.llm.events import Citation, CitationAdded, ResponseEvent, ThinkingDelta, ThinkingStarted, ToolInputDelta
from extproc.llm.losses import LossReport
from extproc.llm.request import (
    Document,
    Image,
    Message,
    Output,
    Request,
    SearchResult,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from extproc.policy.base import Context
from extproc.policy.redact import Redact, configure
from extproc.route import RouteError

from .clients import (
    CLIENTS,
    PAIRS,
    RUN,
    asked,
    exchange,
    heard,
    input_of,
    read,
    said,
    text_of,
    texts,
    tool_call,
    written,
)
from .members import given

clients = pytest.mark.parametrize("client", CLIENTS)
pairs = pytest.mark.parametrize(("client", "upstream"), PAIRS)
MAIL, CARD = "joe@example.com", "4111 1111 1111 1111"
KEY = "sk-" + "ant-api03-" + "x" * 24
TURNS = [
    Message("system", f"the boss is {MAIL}"),
    Message("user", f"I am {MAIL} and pay by {CARD}"),
    Message("assistant", f"Hello {MAIL}"),
    Message("user", f"and ann@example.com? {MAIL}."),
]
REDACT: dict[str, Any] = {"redact": {}}


def policy(**members: Any) -> tuple[Redact, Context]:
    models: Any = None  # it asks none
    context = Context("openai_chat", "openai_chat", "openai", "id", 1.0, LossReport(), {}, models)
    made = configure(given(members))(context)
    assert isinstance(made, Redact)
    return made, context


@pytest.mark.parametrize("stream", [False, True])
@pairs
def test_values_go_out_as_placeholders_and_come_back(client: str, upstream: str, stream: bool) -> None:
    t = exchange(client, upstream, REDACT)
    call = asked(t, written(client, *TURNS, stream=stream))
    assert isinstance(call, Call) and b"example.com" not in call.body and b"1111" not in call.body
    assert [text for _, text in said(read(upstream, call.path, call.body))] == [
        "the boss is [EMAIL_1]",
        "I am [EMAIL_1] and pay by [CARD_1]",
        "Hello [EMAIL_1]",
        "and [EMAIL_2]? [EMAIL_1].",
    ]
    assert t.policy_facts == {"redact_count": 6, "redact_email": 5, "redact_card": 1}
    got = heard(t, texts("Dear [EMA", "IL_2], ", "your card [CARD_1] [", "CARD_2] [EMAIL_1]"), stream=stream)
    assert text_of(got) == f"Dear ann@example.com, your card {CARD} [CARD_2] {MAIL}"


@pytest.mark.parametrize("stream", [False, True])
@pairs
def test_what_a_tool_is_called_with(client: str, upstream: str, stream: bool) -> None:
    quoted = 'say "joe"\\'
    rule = {"redact": {"patterns": [{"name": "quote", "pattern": 'say "joe"\\\\'}]}}
    t = exchange(client, upstream, rule)
    call = asked(t, written(client, Message("user", f"{quoted} to {MAIL}"), tools=[RUN], stream=stream))
    assert isinstance(call, Call) and b"[QUOTE_1] to [EMAIL_1]" in call.body
    got = heard(t, tool_call('{"to":"[EMA', 'IL_1]","text":"[QUO', 'TE_1]!"}'), stream=stream)
    assert msgspec.json.decode(input_of(got)) == {"to": MAIL, "text": quoted + "!"}


@pairs
def test_calls_and_their_results(client: str, upstream: str) -> None:
    given_to_it = {"to": [MAIL], "card": 4111111111111111, "n": 7, MAIL: 1}
    called = [
        Message("user", "who?"),
        Message("assistant", [ToolCall("call_1", "run", input=given_to_it)]),
        Message("tool", [ToolResult("call_1", f'{{"mail": "{MAIL}"}}')]),
    ]
    call = asked(exchange(client, upstream, REDACT), written(client, *called, tools=[RUN]))
    assert isinstance(call, Call) and b"example.com" not in call.body and b"4111" not in call.body
    got = read(upstream, call.path, call.body)
    blocks = [block for message in got.messages if isinstance(message.content, list) for block in message.content]
    (made,) = [block for block in blocks if isinstance(block, ToolCall)]
    assert (made.input or msgspec.json.decode(made.arguments or "")) == {
        "to": ["[EMAIL_1]"],
        "card": "[CARD_1]",
        "n": 7,
        "[EMAIL_1]": 1,
    }


@clients
def test_a_clean_request_keeps_its_bytes_and_its_answer_is_not_held(client: str) -> None:
    sent = written(client, Message("user", "three"))
    body = sent.body.replace(b'"three"', b' "th\\u0072ee"  ')
    t = exchange(client, client, REDACT)
    call = asked(t, replace(sent, body=body))
    assert isinstance(call, Call) and call.body == body and not t.policed
    assert text_of(heard(t, texts("[EMAIL_1]"), stream=True)) == "[EMAIL_1]"


@clients
def test_untouched_messages_keep_their_bytes(client: str) -> None:
    sent = written(client, Message("user", "three"), Message("assistant", "four"), Message("user", MAIL))
    body = sent.body.replace(b'"three"', b' "th\\u0072ee"  ')
    call = asked(exchange(client, client, REDACT), replace(sent, body=body))
    assert isinstance(call, Call) and b' "th\\u0072ee"  ' in call.body and b"[EMAIL_1]" in call.body


@clients
def test_the_next_turn_has_the_same_placeholders(client: str) -> None:
    """What was restored for the client is what it was for the model, so that caches and signatures hold."""
    first = asked(exchange(client, client, REDACT), written(client, *TURNS))
    more = [*TURNS, Message("assistant", "ann@example.com it is"), Message("user", "new@example.com")]
    second = asked(exchange(client, client, REDACT), written(client, *more))
    assert isinstance(first, Call) and isinstance(second, Call)
    one, two = (said(read(client, call.path, call.body)) for call in (first, second))
    assert two[: len(one)] == one and [text for _, text in two[len(one) :]] == ["[EMAIL_2] it is", "[EMAIL_3]"]


@clients
def test_without_restore_placeholders_stay(client: str) -> None:
    t = exchange(client, client, {"redact": {"restore": False}})
    asked(t, written(client, *TURNS))
    assert text_of(heard(t, texts("Dear [EMAIL_1]"), stream=False)) == "Dear [EMAIL_1]"


def test_what_the_client_itself_calls_so_is_nobodys_placeholder() -> None:
    t = exchange("openai_chat", "openai_chat", REDACT)
    call = asked(t, written("openai_chat", Message("user", f"what does [EMAIL_1] mean? {MAIL}")))
    assert isinstance(call, Call) and b"[EMAIL_1] mean? [EMAIL_2]" in call.body
    assert text_of(heard(t, texts("[EMAIL_1] [EMAIL_2]"), stream=True)) == f"[EMAIL_1] {MAIL}"


def pieces_of(text: str) -> Iterator[list[str]]:
    """Cut in one place, in two, and sign by sign."""
    yield list(text)
    for one in range(len(text)):
        yield [text[:one], text[one:]]
        yield [text[:one], text[one : one + 3], text[one + 3 :]]


def test_however_a_stream_is_cut() -> None:
    text = "[a] [EMAIL_1][CARD_1] [EMAIL_1 [EMAIL_9] [[EMAIL_1]] [EMA"
    wanted = f"[a] {MAIL}{CARD} [EMAIL_1 [EMAIL_9] [{MAIL}] [EMA"
    for pieces in pieces_of(text):
        made, _ = policy()
        made.on_request(Request(dialect="openai_chat", model="m", messages=[Message("user", f"{MAIL} {CARD}")]))
        got = [event for given in texts(*pieces) for event in made.on_events([given], False)]
        assert text_of(got) == wanted, pieces


def test_thinking_is_restored_and_what_cannot_be_one_is_not_held() -> None:
    made, _ = policy()
    made.on_request(Request(dialect="openai_chat", model="m", messages=[Message("user", MAIL)]))
    events: list[ResponseEvent] = [ThinkingStarted(0), ThinkingDelta(0, "so [EMAIL"), ThinkingDelta(0, "_1] [x")]
    assert made.on_events(events, False) == [
        ThinkingStarted(0),
        ThinkingDelta(0, "so "),
        ThinkingDelta(0, f"{MAIL} [x"),
    ]


def test_citations_point_where_the_text_now_is() -> None:
    made, _ = policy()
    made.on_request(Request(dialect="openai_chat", model="m", messages=[Message("user", MAIL)]))
    cited = Citation("url", "openai_chat", "https://x", start=10, end=15, cited_text="by [EMAIL_1]", native={"a": 1})
    start, block, text, *_ = texts("[EMAIL_1] there")
    *_, got = made.on_events([start, block, text, CitationAdded(0, cited)], False)
    assert isinstance(got, CitationAdded)
    moved = got.citation
    assert (moved.start, moved.end, moved.cited_text) == (16, 21, f"by {MAIL}")
    assert f"{MAIL} there"[16:21] == "there"


def test_every_kind_of_part() -> None:
    made, context = policy()
    parts: list[Any] = [
        Text(MAIL),
        Document(Source("text", MAIL), title=MAIL, context=MAIL),
        Document(blocks=[Text(MAIL)]),
        SearchResult("https://x", MAIL, [Text(MAIL)]),
        ToolResult("1", [Text(MAIL)]),
        ToolCall("1", "run", arguments=f"to {MAIL}", kind="custom"),
        ToolCall("1", "run", arguments=f'{{"broken": "{MAIL}'),
        ToolCall("1", "run", arguments='{"a": "joe\\u0040example.com", "b": 1.50}'),
        Image(Source("base64", "iVBO", "image/png")),
    ]
    got = made.on_request(Request(dialect="openai_chat", model="m", messages=[Message("user", parts)]))
    assert MAIL not in str(got) and "joe" not in str(got) and str(got).count("[EMAIL_1]") == 11
    assert context.facts == {"redact_count": 11, "redact_email": 11, "redact_unseen": 1}


def test_files_that_are_text() -> None:
    made, context = policy()
    held = base64.b64encode(f"to {MAIL}".encode()).decode()
    parts: list[Any] = [Document(Source("base64", held, kind)) for kind in ("text/plain", "application/pdf")]
    got = made.on_request(Request(dialect="openai_chat", model="m", messages=[Message("user", parts)]))
    first, second = list(got.messages[0].content)
    assert isinstance(first, Document) and first.source is not None and second == parts[1]
    assert base64.b64decode(first.source.data) == b"to [EMAIL_1]"
    assert context.facts == {"redact_count": 1, "redact_email": 1, "redact_unseen": 1}


@pytest.mark.parametrize(
    ("client", "body", "sent"),
    [
        ("openai_chat", {"messages": [{"role": "user", "content": "x"}],
                         "prediction": {"type": "content", "content": MAIL}},
         b'"prediction":{"type":"content","content":"[EMAIL_1]"}'),
        ("openai_responses", {"input": "x", "prompt": {"id": "p", "variables": {"to": MAIL}}},
         b'"prompt":{"id":"p","variables":{"to":"[EMAIL_1]"}}'),
        ("bedrock_converse", {"messages": [{"role": "user", "content": [{"text": "x"}]}],
                              "promptVariables": {"to": {"text": MAIL}}},
         b'"promptVariables":{"to":{"text":"[EMAIL_1]"}}'),
    ],
)  # fmt: skip
def test_what_a_template_is_filled_with(client: str, body: dict[str, Any], sent: bytes) -> None:
    path = written(client, *TURNS).path
    body = {"model": "m", **body} if client != "bedrock_converse" else body
    t = exchange(client, client, REDACT)
    call = t.request(msgspec.json.encode(body), "POST", path)
    assert isinstance(call, Call) and sent in call.body
    assert text_of(heard(t, texts("[EMAIL_1]"), stream=False)) == MAIL


def test_what_the_model_has_signed_stays_as_it_was() -> None:
    """It takes its thinking back only so: of an address that it made up nobody has told it by a placeholder."""
    thought = f"{MAIL} or made@up.example, at 10.1.2.3? {MAIL}x"
    for signature, wanted in (
        ("S", "[EMAIL_1] or made@up.example, at 10.1.2.3? [EMAIL_2]"),
        (None, "[EMAIL_1] or [EMAIL_2], at [IP_1]? [EMAIL_3]"),
    ):
        made, _ = policy()
        turns = [Message("user", MAIL), Message("assistant", [Thinking(thought, signature)])]
        got = made.on_request(Request(dialect="anthropic_messages", model="m", messages=turns))
        (thinking,) = list(got.messages[1].content)
        assert isinstance(thinking, Thinking) and thinking.text == wanted


@pytest.mark.parametrize("stream", [False, True])
@pairs
def test_an_answer_that_is_json_stays_so(client: str, upstream: str, stream: bool) -> None:
    quoted = 'say "joe"\\'
    rule = {"redact": {"patterns": [{"name": "quote", "pattern": 'say "joe"\\\\'}]}}
    t = exchange(client, upstream, rule)
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"],
              "additionalProperties": False}  # fmt: skip
    form = Output("json_schema", schema, "answer")
    assert isinstance(asked(t, written(client, Message("user", quoted), output=form, stream=stream)), Call)
    got = heard(t, texts('{"text":"[QUO', 'TE_1]!"}'), stream=stream)
    assert msgspec.json.decode(text_of(got)) == {"text": quoted + "!"}


@clients
def test_a_users_id_that_is_an_address(client: str) -> None:
    t = exchange(client, client, REDACT)
    sent = written(client, Message("user", "hi"), user_id=MAIL)
    call = asked(t, sent)
    assert isinstance(call, Call) and b"example.com" not in call.body
    if b"example.com" in sent.body:
        assert [loss.action.value for loss in t.losses] == ["filtered"]


def test_fragments_go_on_as_soon_as_they_can() -> None:
    made, _ = policy()
    made.on_request(Request(dialect="openai_chat", model="m", messages=[Message("user", MAIL)]))
    _, start, *rest = tool_call('{"a": [', '1, "[EMAIL_1]"]}')
    got = made.on_events([start, rest[0]], False)
    assert got == [start, ToolInputDelta(0, '{"a": ')]
    assert input_of([*got, *made.on_events(rest[1:], True)]) == f'{{"a": [1, "{MAIL}"]}}'


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"recognisers": ["name"]}, "recognisers[0]: choose one of: key, email, iban, card, ip, phone"),
        ({"recognisers": []}, "recognisers: it or patterns must hold one"),
        ({"patterns": [{"name": "x"}]}, "patterns[0].pattern: is needed"),
        ({"patterns": [{"name": "x", "pattern": "("}]}, "patterns[0].pattern: not a regular expression"),
        ({"patterns": [{"name": "card", "pattern": "x"}]}, "patterns[0].name: expected small letters"),
        ({"patterns": [{"name": "A B", "pattern": "x"}]}, "patterns[0].name: expected small letters"),
        ({"restore": "no"}, "restore: expected true or false"),
    ],
)
def test_what_is_wrong(members: dict[str, Any], says: str) -> None:
    with pytest.raises(RouteError) as wrong:
        exchange("openai_chat", "openai_chat", {"redact": members})
    assert f"policies[0].redact.{says}" in str(wrong.value)
