from __future__ import annotations

import base64
import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc import Call, Refused, Translation
from extproc.llm.weight import SMALL, is_heavier
from extproc.translation.carried import STRETCH, UnreadMedia, found, is_json

encode, decode = msgspec.json.encode, msgspec.json.decode


def take_out(body: bytes) -> UnreadMedia | None:
    """What an exchange carries of *body*."""
    media = found(body)
    return media if media is not None and is_json(body) else None


def medium(head: bytes, size: int = 3 * STRETCH, seed: int = 1) -> str:
    """Base64 of *size* bytes that begin with *head*."""
    noise = bytes((seed * 31 + n * n + n // 7) % 256 for n in range(4096))
    data = head + noise * (size // len(noise) + 1)
    return base64.b64encode(data[:size]).decode()


PNG, PDF = medium(b"\x89PNG\r\n\x1a\n"), medium(b"%PDF-1.7\n", 3 * STRETCH + 1)
ASKED = {"model": "m", "max_tokens": 9}


def messages(data: str, kind: str = "image/png") -> dict[str, Any]:
    block = {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}
    return {**ASKED, "messages": [{"role": "user", "content": [{"type": "text", "text": "what?"}, block]}]}


def chat(data: str, kind: str = "image/png") -> dict[str, Any]:
    part = {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}
    return {**ASKED, "messages": [{"role": "user", "content": [{"type": "text", "text": "what?"}, part]}]}


def responses(data: str, kind: str = "image/png") -> dict[str, Any]:
    part = {"type": "input_image", "image_url": f"data:{kind};base64,{data}"}
    return {"model": "m", "input": [{"role": "user", "content": [{"type": "input_text", "text": "what?"}, part]}]}


def gemini(data: str, kind: str = "image/png") -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": "?"}, {"inlineData": {"mimeType": kind, "data": data}}]}]}


def converse(data: str, kind: str = "image/png") -> dict[str, Any]:
    image = {"format": kind.partition("/")[2], "source": {"bytes": data}}
    return {"messages": [{"role": "user", "content": [{"text": "what?"}, {"image": image}]}]}


APIS = {
    "anthropic_messages": (messages, "/v1/messages"),
    "openai_chat": (chat, "/v1/chat/completions"),
    "openai_responses": (responses, "/v1/responses"),
    "gemini": (gemini, "/v1beta/models/m:generateContent"),
    "bedrock_converse": (converse, "/model/m/converse"),
}
PAIRS = list(itertools.product(APIS, APIS))


def made(client: str, upstream: str, body: bytes) -> tuple[Any, list[str]]:
    """What is sent upstream, as values, and what was lost; or the refusal."""
    t = Translation(client, upstream, now=0)
    try:
        call = t.request(body, path=APIS[client][1])
    except Refused as refused:
        return decode(refused.body), []
    assert isinstance(call, Call)
    # What the answer is going to repeat of it.
    kept = b"" if t._call is None else encode(t._call.request.client_state)
    return decode(call.body), [f"{loss} {loss.detail}" for loss in t.losses] + [kept.decode()]


def read_whole(body: bytes, data: str) -> bytes:
    """The same request, in a form that nothing can be carried of: its first character is written as an escape."""
    start = body.index(data[:64].encode())
    escaped = body[:start] + b"\\u%04x" % body[start] + body[start + 1 :]
    assert take_out(escaped) is None and decode(escaped) == decode(body)
    return escaped


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_what_is_carried_arrives_as_if_it_had_been_read(client: str, upstream: str) -> None:
    body = encode(APIS[client][0](PNG))
    assert take_out(body) is not None
    assert made(client, upstream, body) == made(client, upstream, read_whole(body, PNG))


GIF = medium(b"GIF89a and so on ")


def document(client: str, kind: str, data: str) -> dict[str, Any]:
    """A file of *kind*, as each API has files."""
    if client == "anthropic_messages":
        block = {"type": "document", "source": {"type": "base64", "media_type": kind, "data": data}}
        return {**ASKED, "messages": [{"role": "user", "content": [block]}]}
    if client == "openai_chat":
        part = {"type": "file", "file": {"filename": "a.txt", "file_data": f"data:{kind};base64,{data}"}}
        return {**ASKED, "messages": [{"role": "user", "content": [part]}]}
    if client == "openai_responses":
        item = {"type": "input_file", "filename": "a.txt", "file_data": f"data:{kind};base64,{data}"}
        return {"model": "m", "input": [{"role": "user", "content": [item]}]}
    if client == "gemini":
        return gemini(data, kind)
    file = {"name": "a", "format": "txt" if kind == "text/plain" else "pdf", "source": {"bytes": data}}
    return {"messages": [{"role": "user", "content": [{"text": "what?"}, {"document": file}]}]}


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@pytest.mark.parametrize("kind", ["text/plain", "application/pdf"])
@pytest.mark.parametrize("data", [PDF, GIF], ids=["pdf", "gif"])
def test_files_too_whatever_is_said_of_them(client: str, upstream: str, kind: str, data: str) -> None:
    body = encode(document(client, kind, data))
    assert take_out(body) is not None
    assert made(client, upstream, body) == made(client, upstream, read_whole(body, data))


HEADS = {
    "wav": b"RIFF\x24\x80\x00\x00WAVEfmt ", "mp3": b"\xff\xfb\x90\x64", "id3": b"ID3\x04\x00\xff",
    "ogg": b"OggS\x00\x02", "flac": b"fLaC\x00\x00", "mp4": b"\x00\x00\x00\x20ftypisom", "webm": b"\x1a\x45\xdf\xa3",
}  # fmt: skip


@pytest.mark.parametrize("upstream", APIS)
@pytest.mark.parametrize("name", HEADS)
def test_audio_and_video_too(name: str, upstream: str) -> None:
    data = medium(HEADS[name])
    part = {"type": "input_audio", "input_audio": {"data": data, "format": "mp3" if name in ("mp3", "id3") else "wav"}}
    listen = encode({**ASKED, "messages": [{"role": "user", "content": [{"type": "text", "text": "what?"}, part]}]})
    for client, body in (("openai_chat", listen), ("gemini", encode(gemini(data, f"video/{name}")))):
        assert take_out(body) is not None
        assert made(client, upstream, body) == made(client, upstream, read_whole(body, data))


WRONG_TYPE = "image/jpeg"
NOT_STANDARD = {
    "the other alphabet": PNG[:-8].replace("+", "-").replace("/", "_") + "-_-_-_-_",
    "no padding": medium(b"\x89PNG", 3 * STRETCH + 1).rstrip("="),
    "padding within": PNG[:400] + "====" + PNG[400:],
    "a line end": PNG[:76] + "\n" + PNG[76:],
    "a space": PNG[:-1] + " ",
    "nothing known": medium(b"something else"),
    "text": base64.b64encode(b"GIF8" + b" and so on" * STRETCH).decode()[:-8],
}


@pytest.mark.parametrize("client", APIS)
@pytest.mark.parametrize("what", NOT_STANDARD)
def test_what_may_change_on_the_way_is_read(client: str, what: str) -> None:
    data = NOT_STANDARD[what]
    kind = "text/plain" if what == "text" else "image/png"
    assert take_out(encode(APIS[client][0](data, kind))) is None


@pytest.mark.parametrize("client", APIS)
def test_the_type_is_told_by_the_bytes_all_the_same(client: str) -> None:
    body = encode(APIS[client][0](PNG, WRONG_TYPE))
    assert take_out(body) is not None
    found, losses = made(client, "anthropic_messages", body)
    assert (found, losses) == made(client, "anthropic_messages", read_whole(body, PNG))
    if client != "anthropic_messages":
        assert b'"media_type":"image/png"' in encode(found)


@pytest.mark.parametrize("client", APIS)
@pytest.mark.parametrize("upstream", APIS)
@pytest.mark.parametrize("bad", [b"\x00", b"\x01", b"\x1f", b"\n", b"\xff"])
def test_what_is_no_json_is_refused_as_before(client: str, upstream: str, bad: bytes) -> None:
    body = encode(APIS[client][0](PNG))
    at = body.index(PNG[:64].encode()) + STRETCH
    broken = body[:at] + bad + body[at + 1 :]
    assert take_out(broken) is None
    if bad < b" ":
        with pytest.raises(Refused):
            Translation(client, upstream, now=0).request(broken, path=APIS[client][1])


def test_many_in_one_conversation_each_in_its_place() -> None:
    """Images, a document, one within a tool's result, one twice, and texts between them."""
    images = [medium(b"\xff\xd8\xff\xe0", 3 * STRETCH + 3 * n, n) for n in range(4)]

    def image(data: str) -> dict[str, Any]:
        return {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": data}}

    source = {"type": "base64", "media_type": "application/pdf", "data": PDF}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image(images[2]), image(images[3])]}
    call = {"type": "tool_use", "id": "t", "name": "look", "input": {"data": images[1], "url": "x"}}
    first = [image(images[0]), {"type": "text", "text": "und ä"}, {"type": "document", "source": source}]
    turns = [
        {"role": "user", "content": [*first, image(images[0])]},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    body = encode({**ASKED, "messages": turns})
    carried = take_out(body)
    assert carried is not None and len(carried.body) < 8000 and carried.put_back(carried.body) is body
    assert carried.put_back(carried.body + b" ") == body + b" "
    for upstream in APIS:
        found = made("anthropic_messages", upstream, body)
        whole = body
        for data in [*images, PDF]:
            whole = whole.replace(b'"' + data.encode(), b'"\\u%04x' % ord(data[0]) + data[1:].encode())
        assert take_out(whole) is None
        assert found == made("anthropic_messages", upstream, whole)


@pytest.mark.parametrize("client", APIS)
@pytest.mark.parametrize("beside", [[], [1] * 5_000, "ä" * 90_000, "\U0001f600" * 30_000])
@pytest.mark.parametrize("passed", [False, True])
def test_a_body_weighs_the_same_with_its_media_taken_out(client: str, beside: object, passed: bool) -> None:
    body = encode({**APIS[client][0](medium(b"\x89PNG\r\n\x1a\n", SMALL)), "beside": beside})
    media = found(body)
    assert media is not None and media.size > SMALL and media.whole is body
    for most in range(0, 100 * SMALL, SMALL):
        taken_out = is_heavier(media.body, most, passed=passed, carried=media.size)
        assert taken_out == is_heavier(body, most, passed=passed), most


def test_a_request_that_passes_keeps_its_bytes() -> None:
    for client, (shape, path) in APIS.items():
        body = encode(shape(PNG)).replace(b'"model":"m"', b'"model" : "m"')
        call = Translation(client, client, now=0).request(body, path=path)
        assert isinstance(call, Call) and call.body == body


def test_what_stands_in_for_data_is_no_ones_to_write() -> None:
    """It is another one each time, or somebody could write it so that it shows only when the text is read: as escapes
    of JSON, of URLs, in base64."""
    body = encode(messages(PNG))
    first, second = take_out(body), take_out(body)
    assert first is not None and second is not None and first.body != second.body
    assert not first.shows_in(second.body) and second.put_back(first.body) is None
    word = first.body[first.body.index(b"////") :].partition(b'"')[0].decode()
    for written in (word, word.replace("/", "\\u002f"), word.replace("/", "\\/")):
        forged = body.replace(b"what?", f"see {written} here".encode())
        assert take_out(forged) is not None
        found, _ = made("anthropic_messages", "openai_chat", forged)
        assert found["messages"][0]["content"][0]["text"] == f"see {word} here"


def test_each_has_its_one_place_or_none_is_put_back() -> None:
    """What was left out may stand there in another form, and what stands there twice would take any memory."""
    carried = take_out(encode(messages(PNG)))
    assert carried is not None
    at = carried.body.index(b"////")
    for body in (b"{}", carried.body * 2, carried.body[: at + 10], carried.body[: at + 24], carried.body[: at + 27]):
        assert carried.put_back(body) is None
    assert carried.shows_in(carried.body) and not carried.shows_in(b"{}")


def asked(**members: Any) -> dict[str, Any]:
    return {"model": "m", "input": "what?", **members}


def block(**members: Any) -> dict[str, Any]:
    return {**ASKED, "messages": [{"role": "user", "content": [{"type": "text", "text": "what?"}, members]}]}


SCHEMA = {"type": "object", "properties": {}, "default": {"data": PNG}}
SAID = {"type": "redacted_thinking", "data": PNG}, {"type": "text", "text": "this"}
TURNS = [
    {"role": "user", "content": "what?"},
    {"role": "assistant", "content": SAID},
    {"role": "user", "content": "so?"},
]
ELSEWHERE = {
    "a text that is encoded": block(type="document", source={"type": "text", "media_type": "text/plain", "data": PNG}),
    "an address that is told": block(type="image", source={"type": "url", "url": f"data:image/png;base64,{PNG}"}),
    "thinking that is sealed": {**ASKED, "messages": TURNS},
    "metadata that is repeated": asked(metadata={"data": PNG}),
    "metadata and an image": {**responses(PNG), "metadata": {"image_url": PNG}},
    "a schema that is repeated": asked(tools=[{"type": "function", "name": "f", "parameters": SCHEMA}]),
    "no address": {**ASKED, "messages": chat(PNG)["messages"], "user": {"url": PNG}},
    "a URL for base64": gemini(f"data:image/x-y;base64,{medium(b'GIF89a', 3 * STRETCH + 1)}"),
    "twice the same member": b'{"model":"m","input":"what?","metadata":{"data":"%s","data":"%s"}}'
    % ((PNG.encode(),) * 2),
}


@pytest.mark.parametrize("upstream", APIS)
@pytest.mark.parametrize("what", ELSEWHERE)
def test_what_else_bears_the_name_of_media_arrives_as_if_it_had_been_read(what: str, upstream: str) -> None:
    asked = ELSEWHERE[what]
    body = asked if isinstance(asked, bytes) else encode(asked)
    client = "gemini" if b'"contents"' in body else "openai_responses" if b'"input"' in body else "anthropic_messages"
    client = "openai_chat" if b'"user":{' in body else client
    assert take_out(body) is not None
    whole = body
    for start in (b'"iVBOR', b";base64,R0lGO", b";base64,iVBOR"):
        whole = whole.replace(start, start[:-5] + b"\\u%04x" % start[-5] + start[-4:])
    assert take_out(whole) is None and decode(whole) == decode(body)
    assert made(client, upstream, body) == made(client, upstream, whole)


def test_what_policies_lost_before_is_told_once() -> None:
    t = Translation("anthropic_messages", "bedrock_converse", now=0)
    t.losses.dropped("before")
    t.request(encode(ELSEWHERE["an address that is told"]), path="/v1/messages")
    assert [loss.path for loss in t.losses] == ["before", "messages[0].content[1]"]
    assert PNG in list(t.losses)[1].detail


class Counting(bytes):
    """A body that says how much of it is looked through."""

    seen = 0

    def find(self, *given: Any) -> int:
        found = super().find(*given)
        end = given[2] if len(given) > 2 else len(self)
        self.seen += (found if found >= 0 else end) - given[1]
        return found

    def isascii(self) -> bool:
        self.seen += len(self)
        return super().isascii()


@pytest.mark.parametrize("data", ['"data":"' + "A" * 64 * STRETCH, f'{{"data":"{PNG}"}},' * 16])
def test_each_byte_is_looked_at_a_few_times(data: str) -> None:
    body = Counting(data.encode())
    found(body)
    assert 0 < body.seen < 12 * len(body)


def test_escaped_media_in_a_text_are_text() -> None:
    body = encode({**ASKED, "messages": [{"role": "user", "content": encode({"data": PNG}).decode()}]})
    assert take_out(body) is None
    body = encode({**ASKED, "messages": [{"role": "user", "content": PNG}]})
    assert take_out(body) is None


def test_small_bodies_are_not_looked_through() -> None:
    assert take_out(encode(messages(medium(b"\x89PNG", STRETCH)))) is None


SIZES = st.tuples(st.sampled_from([STRETCH // 2, STRETCH, 2 * STRETCH, 3 * STRETCH]), st.integers(0, 80))


@given(st.lists(SIZES, min_size=1, max_size=4), st.booleans())
def test_wherever_they_stand_they_come_back(sizes: list[tuple[int, int]], wide: bool) -> None:
    parts = [{"pad": "é" * pad if wide else "x" * pad, "data": medium(b"GIF89a", size)} for size, pad in sizes]
    body = encode({"messages": parts})
    carried = take_out(body)
    largest = max(size for size, _ in sizes)
    assert (carried is None) <= (largest < 2 * STRETCH)
    if carried is not None:
        assert carried.put_back(encode(decode(carried.body))) == body
