"""The hand-written messages against protobuf."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from extproc.exchange import pieces
from extproc.exchange.incoming import read
from extproc.exchange.mutations import proceed
from extproc.exchange.outgoing import whole
from extproc.exchange.phases import Kind
from extproc.server.service import Service
from extproc.settings import Settings
from extproc.telemetry.outcome import Ending
from tests.exchange.conversation import OPENAI, Conversation, leaf

SIZES = [0, 1, 100, 119, 120, 127, 128, 16_383, 16_384, 3_000_000]
"""Where the numbers before a body grow by a byte, and others."""


def made(body: bytes, *, last: bool = False, **metadata: str) -> ProcessingRequest:
    message = ProcessingRequest()
    message.response_body.body = body
    message.response_body.end_of_stream = last
    if metadata:
        message.metadata_context.filter_metadata["extproc"].update(metadata)
    return message


def test_it_reads_what_envoy_sends() -> None:
    for size in SIZES:
        body = bytes(size)
        assert pieces.read(made(body).SerializeToString()) == body
        assert pieces.read(made(body, model="x" * 300).SerializeToString()) == body


def test_what_says_more_is_left_to_protobuf() -> None:
    assert pieces.read(made(b"x", last=True).SerializeToString()) is None
    with_attributes = made(b"x")
    with_attributes.attributes["filter"].update({"a": "b"})
    assert pieces.read(with_attributes.SerializeToString()) is None
    others = ProcessingRequest()
    for name in ("request_headers", "response_headers", "request_body", "request_trailers", "response_trailers"):
        getattr(others, name).SetInParent()
        assert pieces.read(others.SerializeToString()) is None
    assert pieces.read(b"") is None


@given(st.data())
def test_it_never_reads_something_else(data: st.DataObject) -> None:
    """Any bytes, and any change of a piece's bytes: what is read at all is what protobuf reads."""
    whole = made(data.draw(st.binary(max_size=40)), model="m").SerializeToString()
    cut = data.draw(st.integers(0, len(whole)))
    message = whole[:cut] + data.draw(st.binary(max_size=6)) + whole[cut + data.draw(st.integers(0, 3)) :]
    body = pieces.read(message)
    if body is None:
        return
    try:
        parsed = ProcessingRequest.FromString(message)
    except DecodeError:
        # Metadata that is broken is not looked at.
        return
    assert parsed.WhichOneof("request") == "response_body" and not parsed.response_body.end_of_stream
    assert parsed.response_body.body == body


def test_it_writes_what_protobuf_writes() -> None:
    for size in SIZES:
        answer = ProcessingResponse()
        answer.response_body.response.body_mutation.body = bytes(size)
        written = whole(pieces.write(bytes(size)))
        assert written == answer.SerializeToString() == proceed(Kind.RESPONSE_BODY, None, bytes(size)).encoded()
    answer = ProcessingResponse()
    answer.response_body.response.SetInParent()
    assert pieces.UNCHANGED == answer.SerializeToString() == proceed(Kind.RESPONSE_BODY).encoded()


CHUNKS = [
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
    b'{"role":"assistant","content":"a"},"finish_reason":null}]}\n\n',
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
    b'{"content":"b"},"finish_reason":null}]}\n',
    b"\n",
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n',
    b"data: [DONE]\n\n",
]


def streaming(path: str) -> Conversation:
    envoy = Conversation()
    envoy.headers(path, attributes=leaf(OPENAI))
    envoy.body({"model": "m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "hi"}]})
    envoy.answer(200, {"content-type": "text/event-stream"})
    return envoy


def test_an_exchange_answers_a_piece_as_it_answers_the_message() -> None:
    for path in ("/v1/messages", "/v1/chat/completions"):
        by_message, by_piece = streaming(path).exchange, streaming(path).exchange
        for chunk in CHUNKS:
            (answer,) = by_message.receive(read(made(chunk).SerializeToString()))
            assert whole(by_piece.receive_piece(chunk)) == answer.encoded()
        assert by_message.close().ending is by_piece.close().ending is Ending.COMPLETE


def test_a_session_takes_them_in_the_middle_of_a_stream_alone() -> None:
    session = Service(Settings()).open()
    # Nothing has begun: the filter is configured in a way in which nothing can be translated.
    (answer,) = session.receive(made(b"x").SerializeToString())
    assert ProcessingResponse.FromString(whole(answer)).immediate_response.status.code == 500
    session.close()
