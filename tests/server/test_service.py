from __future__ import annotations

import gzip
import json
import random
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from extproc.capabilities import CapabilityError
from extproc.effects import Awaited, Done, Failed, Failure, HttpAnswer, Result
from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from extproc.exchange.incoming import FILTER
from extproc.exchange.machine import Exchange
from extproc.exchange.outgoing import LONG, Encoded, whole
from extproc.server.service import ExchangeSession, NotAMessage, Service, TooMuchHeld
from extproc.settings import Settings
from extproc.telemetry.outcome import Ending
from extproc.telemetry.ring import Look
from tests.exchange.conversation import OPENAI, leaf
from tests.policy.policies import policies as policies
from tests.properties.growth import grows_with_its_length
from tests.support.token_endpoint import TokenEndpoint


def first(path: str = "/v1/messages", route: str = OPENAI) -> bytes:
    message = ProcessingRequest()
    message.request_headers.headers.headers.add(key=":path", raw_value=path.encode())
    message.request_headers.headers.headers.add(key=":method", raw_value=b"POST")
    message.attributes[FILTER].update(leaf(route))
    return message.SerializeToString()


def answers(made: list[Encoded]) -> list[ProcessingResponse]:
    return [ProcessingResponse.FromString(whole(data)) for data in made]


@pytest.mark.parametrize("role", ["", "translator", "router"])
def test_a_session_answers_bytes_with_bytes(role: str) -> None:
    session = Service(Settings()).open(role)
    (answer,) = answers(session.receive(first()))
    assert answer.WhichOneof("response") == "request_headers"


def test_an_unknown_role_is_answered_in_the_clients_shape() -> None:
    session = Service(Settings()).open("ruter")
    (answer,) = answers(session.receive(first()))
    assert answer.immediate_response.status.code == 500
    assert b"x-extproc-role must be one of translator, router" in answer.immediate_response.body


def test_streams_beyond_the_bound_are_told_so() -> None:
    service = Service(replace(Settings(), max_concurrent_streams=2))
    sessions = [service.open() for _ in range(3)]
    kinds = [answers(session.receive(first()))[0].WhichOneof("response") for session in sessions]
    assert kinds == ["request_headers", "request_headers", "immediate_response"]
    for session in sessions:
        session.close()
    assert service.open_sessions == 0
    assert service.endings == {("translator", Ending.CANCELLED): 2, ("translator", Ending.REFUSED): 1}
    (answer,) = answers(service.open().receive(first()))
    assert answer.WhichOneof("response") == "request_headers", "there is room again"


def test_what_is_no_message_is_the_only_thing_that_raises() -> None:
    dice = random.Random(7)
    message = first()
    for _ in range(2000):
        session = Service.open(SERVICE)
        broken = bytearray(message)
        for _ in range(dice.randint(1, 4)):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        try:
            session.receive(bytes(broken))
        except NotAMessage:
            pass
        session.close()
    with pytest.raises(NotAMessage):
        SERVICE.open().receive(b"\xff")


SERVICE = Service(Settings())


@pytest.mark.replaces_code
def test_a_bug_in_closing_does_not_escape(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    service = Service(Settings())
    session = service.open()
    monkeypatch.setattr(Exchange, "close", lambda self, **how: 1 / 0)
    session.close()
    assert "a bug in closing" in caplog.text and service.open_sessions == 0


def test_an_operators_table_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    path.write_text("nonsense: 1")
    with pytest.raises(CapabilityError):
        Service(replace(Settings(), capabilities=str(path)))


BODY = b'{"model":"gpt-5","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'


def posted(body: bytes = BODY) -> bytes:
    message = ProcessingRequest()
    message.request_body.body = body
    message.request_body.end_of_stream = True
    return message.SerializeToString()


def trailers() -> bytes:
    message = ProcessingRequest()
    message.request_trailers.SetInParent()
    return message.SerializeToString()


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ExchangeSession, TokenEndpoint]]:
    """A session that waits for a token, and whoever gives it out."""
    endpoint = TokenEndpoint()
    endpoint.gate.clear()
    monkeypatch.setenv("GCP_SERVICE_ACCOUNT", endpoint.key(f"{endpoint.url}@service"))
    session = Service(replace(Settings(), max_message_bytes=1000)).open()
    port = endpoint.url.split(":")[2].partition("/")[0]
    conf = f"{{project_id: p, region: '{port}'}}"
    session.receive(first(route=f"{{provider: vertex-ai, provider_conf: {conf}, auth: {{gcp: {{}}}}}}"))
    (told,) = answers(session.receive(posted()))
    assert told.HasField("override_message_timeout") and told.WhichOneof("response") is None
    yield session, endpoint
    endpoint.gate.set()
    session.close()
    endpoint.close()


def test_what_comes_while_a_session_waits_is_answered_after_it_in_order(
    waiting: tuple[ExchangeSession, TokenEndpoint],
) -> None:
    session, endpoint = waiting
    for _ in range(2):
        (told,) = answers(session.receive(trailers()))
        assert told.override_message_timeout.ToMilliseconds() > 30_000, "Envoy's clock begins anew with each message"
    ask = session.asks
    assert ask is not None and isinstance(ask.effect, Awaited) and ask.seconds == pytest.approx(30, abs=1)
    endpoint.gate.set()
    ask.effect.what.result(5)
    kinds = [answer.WhichOneof("response") for answer in answers(session.resume(ask, Done()))]
    assert kinds == ["request_body", "request_trailers", "request_trailers"]
    assert session.asks is None and session.resume(ask, Done()) == [], "what came of it is taken once"


GUARDED = "{provider: openai, auth: none, policies: [{service: {url: 'http://h.example/'}}]}"
LOGGING = Service(replace(Settings(), admin="127.0.0.1:0"))
LIMITED = replace(Settings(), limits=replace(Settings().limits, max_decoded_bytes=5_000_000))


def test_what_waits_counts_with_what_the_process_keeps(policies: None) -> None:
    service = Service(LIMITED)
    long = BODY.replace(b"hi", b"x" * 100_000)
    sessions = []
    while True:
        session = service.open()
        assert answers(session.receive(first(route=GUARDED)))[0].WhichOneof("response") == "request_headers"
        (told,) = answers(session.receive(posted(long)))
        sessions.append(session)
        if told.WhichOneof("response") is not None:
            break
    assert told.immediate_response.status.code == 529 and session.asks is None
    retry = [each for each in told.immediate_response.headers.set_headers if each.header.key == "retry-after"]
    assert retry and 8 < len(sessions) < 15
    first_asked = sessions[0]
    assert first_asked.asks is not None
    kept = service.budget.kept
    (went_on,) = answers(first_asked.resume(first_asked.asks, HttpAnswer(200, (), b"")))
    assert went_on.WhichOneof("response") == "request_body"
    assert service.budget.kept <= kept - 400_000, "what does not wait any more is not kept"
    for each in sessions:
        each.close()
    assert service.budget.kept == 0


def test_a_body_for_which_others_leave_no_room_is_told_to_come_again() -> None:
    service = Service(LIMITED)

    def said(size: int) -> int:
        session = service.open()
        session.receive(first())
        (answer,) = answers(session.receive(posted(BODY.replace(b"hi", b"x" * size))))
        session.close()
        return answer.immediate_response.status.code

    service.budget.keep(3_000_000)
    assert said(100) == 0 and said(400_000) == 529 and said(800_000) == 413
    service.budget.keep(-3_000_000)
    assert said(400_000) == 0 and service.budget.kept == 0


def announced(length: str, *more: tuple[str, str], role: str = "") -> bytes:
    message = ProcessingRequest.FromString(first())
    for name, value in (("content-length", length), *more):
        message.request_headers.headers.headers.add(key=name, raw_value=value.encode())
    return message.SerializeToString()


def test_a_body_for_which_envoy_has_no_room_is_refused_before_it_is_read() -> None:
    service = Service(replace(Settings(), max_carried_bytes=10_000_000))
    sessions = [service.open() for _ in range(3)]
    for session, length, kind in zip(
        sessions,
        ("3000000", "3000000", "9000"),
        ("request_headers", "immediate_response", "request_headers"),
        strict=True,
    ):
        (answer,) = answers(session.receive(announced(length)))
        assert answer.WhichOneof("response") == kind
        if kind == "immediate_response":
            assert answer.immediate_response.status.code == 529
            assert {each.header.key for each in answer.immediate_response.headers.set_headers} >= {"retry-after"}
    sessions[1].close()
    assert service.budget.carried == 6_000_000, "a short body does not count"
    (answer,) = answers(sessions[0].receive(posted(BODY.replace(b"hi", b"x" * 2_900_000))))
    assert answer.WhichOneof("response") == "request_body" and 2_900_000 < service.budget.carried < 3_000_000
    head = ProcessingRequest()
    head.response_headers.headers.headers.add(key=":status", raw_value=b"200")
    head.response_headers.headers.headers.add(key="content-type", raw_value=b"application/json")
    sessions[0].receive(head.SerializeToString())
    assert service.budget.carried == 0, "the upstream has it"


def test_a_body_of_unknown_length_counts_from_when_envoy_has_it() -> None:
    service = Service(replace(Settings(), max_carried_bytes=10_000_000))
    first_one, second, short = (service.open() for _ in range(3))
    for session in (first_one, second, short):
        session.receive(first())
    assert short.expect(900_000) == [] and service.budget.carried == 0
    assert first_one.expect(3_000_000) == first_one.expect(3_000_000) == [] and service.budget.carried == 6_000_000
    (answer,) = answers(second.expect(3_000_000))
    assert answer.immediate_response.status.code == 529 and service.budget.carried == 6_000_000
    first_one.receive(posted(BODY.replace(b"hi", b"x" * 2_900_000)))
    assert first_one.expect(3_000_000) == [] and 2_900_000 < service.budget.carried < 3_000_000, "nor of an answer"
    for session in (first_one, second, short):
        session.close()
    assert service.budget.carried == 0


@pytest.mark.parametrize("length", ["", "x", "-5", "9" * 5000, "1048576"])
def test_a_length_that_says_nothing_counts_for_nothing(length: str) -> None:
    service = Service(Settings())
    (answer,) = answers(service.open().receive(announced(length)))
    assert answer.WhichOneof("response") == "request_headers" and service.budget.carried == 0


@pytest.mark.parametrize("role", ["translator", "router"])
def test_a_bomb_counts_as_what_was_made_of_it(role: str) -> None:
    service = Service(replace(Settings(), max_carried_bytes=5_000_000))
    bomb = gzip.compress(BODY.replace(b"hi", b"x" * 4_000_000))
    codes: list[int] = []
    sessions = [service.open() for _ in range(2)]
    for session in sessions:
        session.receive(announced(str(len(bomb)), ("content-encoding", "gzip")))
        assert session.is_slow, "its turn is behind everybody's who is short"
        (answer,) = answers(session.receive(posted(bomb)))
        assert not session.is_slow
        codes.append(answer.immediate_response.status.code)
    assert codes == [0, 529]
    for session in sessions:
        session.close()
    assert service.budget.carried == 0


def test_a_length_that_lies_takes_no_room_from_others() -> None:
    service = Service(replace(Settings(), max_carried_bytes=10_000_000))
    liar, other = service.open(), service.open()
    (answer,) = answers(liar.receive(announced("999999999999999")))
    assert answer.immediate_response.status.code == 413, "to come again is of no use"
    assert service.budget.carried == 0, "though the stream is still open"
    (answer,) = answers(other.receive(announced("3000000")))
    assert answer.WhichOneof("response") == "request_headers" and service.budget.carried == 6_000_000
    other.refuse(too_large=True)
    assert service.budget.carried == 0
    for session in (liar, other):
        session.close()
    assert service.budget.carried == 0


@pytest.mark.parametrize("role", ["translator", "router"])
@pytest.mark.parametrize(
    ("method", "path", "ended"),
    [("POST", "/v1/messages", False), ("POST", "/v1/messages", True), ("GET", "/v1/models", True), ("HEAD", "/", True),
     ("GET", "/index.html", True), ("POST", "/v1/images/generations", False)],
)  # fmt: skip
def test_envoy_is_answered_where_there_is_no_room_too(role: str, method: str, path: str, ended: bool) -> None:
    service = Service(LIMITED)
    session = service.open(role)
    service.budget.keep(5_000_000)
    message = ProcessingRequest()
    for name, value in ((":method", method), (":path", path)):
        message.request_headers.headers.headers.add(key=name, raw_value=value.encode())
    message.request_headers.end_of_stream = ended
    message.attributes[FILTER].update(leaf(OPENAI))
    assert len(session.receive(message.SerializeToString())) == 1, "it would wait for its timeout"
    session.close()
    assert service.budget.kept == 5_000_000


def response(status: str = "200", kind: str = "application/json") -> bytes:
    message = ProcessingRequest()
    for name, value in ((":status", status), ("content-type", kind)):
        message.response_headers.headers.headers.add(key=name, raw_value=value.encode())
    return message.SerializeToString()


def chunk(data: bytes, *, end: bool) -> bytes:
    message = ProcessingRequest()
    message.response_body.body = data
    message.response_body.end_of_stream = end
    return message.SerializeToString()


@pytest.mark.parametrize("size", [LONG, 3_000_000])
def test_a_session_takes_long_bodies_in_parts_and_gives_them_so(size: int) -> None:
    session = Service(Settings()).open()
    session.receive(first())
    asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "q" * size}]}
    came = posted(json.dumps(asked).encode())
    (sent,) = session.receive_parts([came[at : at + 16384] for at in range(0, len(came), 16384)])
    assert isinstance(sent, tuple) and len(sent[0]) + len(sent[2]) < 8192
    (answer,) = answers([sent])
    assert json.loads(answer.request_body.response.body_mutation.body)["messages"][0]["content"] == "q" * size
    session.receive(response())
    said = {"role": "assistant", "content": "a" * size}
    told = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": None}
    given = {**told, "choices": [{"index": 0, "message": said, "finish_reason": "stop"}]}
    came = chunk(json.dumps(given).encode(), end=True)
    (got,) = session.receive_parts([came[:70_000], came[70_000:]])
    assert isinstance(got, tuple)
    (answer,) = answers([got])
    assert json.loads(answer.response_body.response.body_mutation.body)["content"][0]["text"] == "a" * size
    session.close()


@pytest.mark.parametrize(("path", "changes"), [("/v1/messages", True), ("/v1/chat/completions", False)])
def test_a_long_piece_of_a_stream_takes_a_few_times_its_length(path: str, changes: bool) -> None:
    """Envoy sends tens of megabytes at once where its own client does not read; others wait with as much."""
    event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    event["choices"] = [{"index": 0, "delta": {"content": "a" * 60_000}, "finish_reason": None}]
    one = b"data: " + json.dumps(event).encode() + b"\n\n"
    session = Service(Settings()).open()
    session.receive(first(path))
    session.receive(posted(BODY[:-1] + b',"stream":true}'))
    session.receive(response(kind="text/event-stream"))
    session.receive(chunk(one, end=False))
    came = chunk(one * 200, end=False)
    parts = [came[at : at + 16384] for at in range(0, len(came), 16384)]
    size = len(came)
    came = b""
    tracemalloc.start()
    (got,) = session.receive_parts(parts)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(answers([got])[0].SerializeToString()) > (0.9 * size if changes else 1)
    # What came was there before: it is as much again.
    assert most < 3.3 * size
    session.close()


ROUTES = (OPENAI, *[GUARDED] * 4, "{provider: anthropic, auth: none}", "{provider: nobody}")
BODIES = (BODY, BODY, BODY, BODY.replace(b"hi", b"x" * 1_500_000), b"no JSON", b"", b"[" * 70_000)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_taken_is_given_back_whichever_way_a_stream_ends(seed: int, policies: None) -> None:
    dice = random.Random(seed)
    service = Service(replace(LIMITED, max_carried_bytes=9_000_000, max_held_bytes=2_000_000, max_concurrent_streams=9))
    budget = service.budget
    met: set[str | None] = set()

    def begun() -> bytes:
        length = dice.choice(["", "9", "1500000", "2500000", "99999999999999"])
        head = ProcessingRequest.FromString(
            announced(length, *dice.choice([(), (), (), (("content-encoding", "gzip"),)]))
        )
        head.attributes[FILTER].update(leaf(dice.choice(ROUTES)))
        return head.SerializeToString()

    def next_one() -> bytes:
        body = dice.choice(BODIES)
        return dice.choice(
            [begun(), *[posted(body)] * 6, posted(gzip.compress(body[:9000])), trailers(), response(), response("500"),
             response("200", "text/event-stream"), chunk(body, end=False), chunk(b"{}", end=True), b"\xff\xff"]
        )  # fmt: skip

    def step(session: ExchangeSession) -> list[Encoded]:
        ask = session.asks
        if ask is not None and dice.random() < 0.5:
            results: list[Result] = [HttpAnswer(200, (), b""), Failed(Failure.TIMEOUT), HttpAnswer(500, (), b"x")]
            came = dice.choice(results)
            return session.resume(ask, came)
        return session.refuse(too_large=dice.random() < 0.5) if dice.random() < 0.1 else session.receive(next_one())

    open_: list[ExchangeSession] = []
    for _ in range(500):
        if len(open_) < 10 and dice.random() < 0.4:
            open_.append(service.open(dice.choice(["", "", "", "router", "nonsense"])))
            met.update(answer.WhichOneof("response") for answer in answers(open_[-1].receive(begun())))
        elif open_:
            session = dice.choice(open_)
            try:
                made = answers(step(session))
                met.update(answer.WhichOneof("response") for answer in made)
                is_over = dice.random() < (0.1 if made else 0.8)
            except (NotAMessage, TooMuchHeld):
                is_over = True
            if is_over:
                open_.remove(session)
                session.close()
        # What was refused is in nobody's way.
        assert 0 <= budget.carried <= budget.most_carried and budget.held >= 0 and budget.kept >= 0
    assert met >= {"request_headers", "request_body", "immediate_response"}
    for session in open_:
        session.close()
    assert (budget.held, budget.kept, budget.carried, service.open_sessions) == (0, 0, 0, 0)


def test_what_an_answer_repeats_of_its_request_is_counted_until_it_has_ended() -> None:
    service = Service(Settings())
    session = service.open()
    session.receive(first("/v1/responses", "{provider: anthropic, auth: none}"))
    before = service.budget.kept
    body = {"model": "claude-haiku-4-5", "input": "hi", "instructions": "i" * 50_000, "store": False}
    session.receive(posted(json.dumps(body).encode()))
    assert 100_000 < service.budget.kept - before < 400_000
    session.close()
    assert service.budget.kept == 0


def with_head(size: int, path: str = "/v1/messages") -> bytes:
    message = ProcessingRequest.FromString(first(path))
    for number in range(size // 10_000):
        message.request_headers.headers.headers.add(key=f"x-{number}", raw_value=b"x" * 10_000)
    return message.SerializeToString()


@pytest.mark.parametrize("role", ["translator", "router"])
def test_long_heads_count_with_what_the_process_keeps(role: str) -> None:
    service = Service(LIMITED)
    sessions = [service.open(role) for _ in range(100)]
    kinds = [answers(session.receive(with_head(100_000)))[0].WhichOneof("response") for session in sessions]
    count = kinds.count("request_headers")
    assert 35 < count < 50 and set(kinds[count:]) == {"immediate_response"}, "five million bytes"
    for session in sessions:
        session.close()
    assert service.budget.kept == 0


@pytest.mark.parametrize("role", ["translator", "router"])
def test_envoy_holds_long_heads_whose_bodies_do_not_come_within_its_bound(role: str) -> None:
    service = Service(replace(Settings(), max_carried_bytes=2_000_000))
    sessions = [service.open(role) for _ in range(5)]
    kinds = [answers(session.receive(with_head(100_000)))[0].WhichOneof("response") for session in sessions]
    assert kinds == ["request_headers"] * 3 + ["immediate_response"] * 2
    other = service.open(role)
    (answer,) = answers(other.receive(announced("9000")))
    assert answer.WhichOneof("response") == "request_headers", "whose head is short is not refused"
    before = service.budget.carried
    sessions[0].receive(posted(BODY))
    assert service.budget.carried < before
    for session in (*sessions, other):
        session.close()
    assert service.budget.carried == 0


def test_long_heads_of_what_goes_by_are_not_kept() -> None:
    service = Service(LIMITED)
    sessions = [service.open("router") for _ in range(100)]
    for session in sessions:
        message = ProcessingRequest.FromString(with_head(100_000, "/web"))
        message.attributes.clear()
        message.request_headers.end_of_stream = True
        (answer,) = answers(session.receive(message.SerializeToString()))
        assert answer.WhichOneof("response") == "request_headers"
    assert service.budget.kept < 100 * 20_000
    for session in sessions:
        session.close()


@pytest.mark.parametrize("role", ["translator", "router"])
@pytest.mark.parametrize("name", ["x-{}", "x", "x-key-{}", "authorization"])
def test_time_grows_with_the_headers_of_an_exchange(role: str, name: str) -> None:
    def asked(n: int) -> Callable[[], object]:
        message = ProcessingRequest.FromString(first(route=f"{OPENAI[:-1]}, logging: {{payloads: true}}}}"))
        for number in range(n):
            message.request_headers.headers.headers.add(key=name.format(number), raw_value=b"some value %d" % number)
        head = message.SerializeToString()
        ask = ProcessingRequest()
        ask.request_body.body = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'
        ask.request_body.end_of_stream = True
        body = ask.SerializeToString()

        def run() -> None:
            session = LOGGING.open(role)
            session.receive(head)
            session.receive(body)
            session.close()

        return run

    grows_with_its_length(asked)


def test_what_did_not_come_in_time_is_refused(waiting: tuple[ExchangeSession, TokenEndpoint]) -> None:
    session, _ = waiting
    session.receive(trailers())
    assert session.asks is not None
    (answer,) = answers(session.resume(session.asks, Failed(Failure.TIMEOUT)))
    assert answer.immediate_response.status.code == 529


def test_what_a_session_keeps_is_bounded(waiting: tuple[ExchangeSession, TokenEndpoint]) -> None:
    session, _ = waiting
    with pytest.raises(TooMuchHeld):
        for _ in range(20):
            session.receive(trailers())


def test_a_session_that_has_ended_resumes_no_more(waiting: tuple[ExchangeSession, TokenEndpoint]) -> None:
    session, _ = waiting
    ask = session.asks
    session.close()
    assert ask is not None and session.asks is None and session.resume(ask, Done()) == []


@pytest.mark.rows("B27")
def test_a_process_with_a_key_of_googles_waits_for_its_first_token(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = TokenEndpoint()
    monkeypatch.setenv("GCP_SERVICE_ACCOUNT", endpoint.key(f"{endpoint.url}@ahead"))
    service = Service(Settings())
    endpoint.gate.clear()
    effect = service.ahead()
    assert isinstance(effect, Awaited)
    endpoint.gate.set()
    effect.what.result(5)
    assert service.ahead() is None and len(endpoint.claims) == 1
    for text in ("", "no key"):
        monkeypatch.setenv("GCP_SERVICE_ACCOUNT", text)
        assert service.ahead() is None
    endpoint.close()


ENDINGS = ("before", "headers", "body", "answered", "refused", "streaming", "done", "broken")


@pytest.mark.rows("B23")
@pytest.mark.parametrize("last", ENDINGS)
def test_the_gauge_is_zero_again_and_each_exchange_counts_once(last: str) -> None:
    service = Service(Settings(admin="127.0.0.1:0"))
    session = service.open()
    envoy = Bytes(session)
    if last != "before":
        envoy.send(first("/v1/chat/completions"))
    if last == "broken":
        with pytest.raises(NotAMessage):
            session.receive(b"\xff\xff")
    if last == "refused":
        envoy.body(b"no JSON")
    if last in ("body", "answered", "streaming", "done"):
        envoy.body(b'{"model": "m", "stream": true, "messages": [{"role": "user", "content": "hi"}]}')
    if last in ("answered", "streaming", "done"):
        envoy.answer()
    if last in ("streaming", "done"):
        envoy.chunk(b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n', end=False)
    if last == "done":
        envoy.chunk(
            b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n', end=True
        )
    assert "extproc_open_streams 1" in service.page({})
    session.close()
    page = service.page({})
    assert "extproc_open_streams 0" in page
    counted = [line for line in page.splitlines() if line.startswith("extproc_exchanges_total{")]
    assert len(counted) == 1 and counted[0].endswith(" 1"), counted
    if last != "before":
        assert 'extproc_messages_total{phase="request_headers"} 1' in page
    if last == "done":
        assert 'ending="complete"' in counted[0] and 'extproc_messages_total{phase="response_body"} 2' in page


class Bytes:
    """Messages of Envoy's for a session."""

    def __init__(self, session: ExchangeSession) -> None:
        self.session = session

    def send(self, data: bytes) -> None:
        self.session.receive(data)

    def body(self, data: bytes) -> None:
        message = ProcessingRequest()
        message.request_body.body, message.request_body.end_of_stream = data, True
        self.send(message.SerializeToString())

    def answer(self) -> None:
        message = ProcessingRequest()
        for name, value in ((":status", b"200"), ("content-type", b"text/event-stream")):
            message.response_headers.headers.headers.add(key=name, raw_value=value)
        self.send(message.SerializeToString())

    def chunk(self, data: bytes, end: bool) -> None:
        message = ProcessingRequest()
        message.response_body.body, message.response_body.end_of_stream = data, end
        self.send(message.SerializeToString())


def test_what_is_kept_of_an_exchange_does_not_grow_with_what_a_client_writes() -> None:
    """Records stay for as long as there are others: names of a megabyte would be memory that nobody counts."""
    service = Service(Settings(admin="127.0.0.1:0"))
    long = "x" * 1_000_000
    asked = {"model": long, "user": long, long: 1, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    session = service.open()
    session.receive(first("/v1/chat/completions", "{provider: anthropic, auth: none, logging: {summaries: true}}"))
    session.receive(posted(json.dumps(asked).encode()))
    session.close()
    told = service.exchanges(Look())()
    assert len(told) < 20_000 and len(service.exchange(1)()) < 20_000
    (kept,) = json.loads(told)["exchanges"]
    assert kept["model_asked"] == long[:1024] and f"{long[:1024]}:dropped" in kept["losses"]
