"""Request bodies that the client compressed: read as plain ones are, within the same bounds."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable

import pytest
import zstandard

from extproc import Call, Refused, Translation
from extproc.settings import Limits

BODY = json.dumps({"model": "claude-opus-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]})
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "x-gzip": lambda data: gzip.compress(data, mtime=0),
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
    "deflate, gzip": lambda data: gzip.compress(zlib.compress(data), mtime=0),
    "gzip, zstd": lambda data: zstandard.compress(gzip.compress(data, mtime=0)),
    "identity": bytes,
}


def sent(path: str, body: bytes, encoding: str, limits: Limits | None = None) -> Call:
    t = Translation(route={"provider": "anthropic", "auth": "none"}, now=0, limits=limits)
    headers = [("content-type", "application/json"), *([("content-encoding", encoding)] if encoding else [])]
    made = t.request(body, "POST", path, headers)
    assert isinstance(made, Call)
    return made


@pytest.mark.parametrize("path", [CHAT, MESSAGES, "/anything"])
@pytest.mark.parametrize("encoding", ENCODERS)
def test_a_compressed_body_is_translated_and_passed_as_a_plain_one(encoding: str, path: str) -> None:
    made = sent(path, ENCODERS[encoding](BODY.encode()), encoding)
    assert made == sent(path, BODY.encode(), "")
    assert "content-encoding" not in dict(made.headers)


@pytest.mark.parametrize(("path", "whose"), [(CHAT, "openai"), (MESSAGES, "anthropic")])
@pytest.mark.parametrize(
    ("encoding", "body", "status", "says"),
    [
        ("br", b"\x0b\x02\x80{}\x03", 415, "'br'"),
        ("gzip, br", b"\x0b\x02\x80{}\x03", 415, "'br'"),
        ("br, gzip", gzip.compress(b"\x0b\x02\x80{}\x03", mtime=0), 415, "'br'"),
        ("gzip, gzip, gzip, gzip", b"x", 415, "4 times"),
        ("gzip", gzip.compress(bytes(100_000), mtime=0), 413, "larger than 1000 bytes"),
        ("zstd", zstandard.compress(bytes(100_000)), 413, "larger than 1000 bytes"),
        ("gzip", BODY.encode(), 400, "broken"),
        ("gzip", gzip.compress(BODY.encode(), mtime=0)[:-4], 400, "cut off"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_inflated_is_the_clients_fault(
    encoding: str, body: bytes, status: int, says: str, path: str, whose: str
) -> None:
    with pytest.raises(Refused) as refused:
        sent(path, body, encoding, Limits(max_request_bytes=1000))
    told = json.loads(refused.value.body)
    assert refused.value.status == status and says in told["error"]["message"]
    assert (told.get("type") == "error") == (whose == "anthropic")
