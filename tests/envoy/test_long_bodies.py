"""Long bodies through Envoy, beside short ones: by the process that answers them, as if there were none."""

from __future__ import annotations

import gzip
import http.client
import os
import re
import threading
import time
import uuid
from contextlib import closing
from pathlib import Path

import msgspec

from tests.support.gateway import CLIENT_KEY, Gateway, Reply
from tests.support.upstream import eventually

SIZE = 20_000_000
AS = {"authorization": f"Bearer {CLIENT_KEY}"}


def long(model: str, size: int = SIZE) -> bytes:
    return msgspec.json.encode({"model": model, "messages": [{"role": "user", "content": "x" * size}]})


def processes(gateway: Gateway) -> list[int]:
    pid = gateway.backends.sidecar.pid
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()]


def counted(gateway: Gateway) -> float:
    lines = re.findall(r"^extproc_exchanges_total\{.*ending=\"complete\".*\} (\S+)$", gateway.backends.metrics(), re.M)
    return sum(map(float, lines))


def exchanges(gateway: Gateway, process: int) -> int:
    """How many of the last ones that process has answered."""
    with closing(http.client.HTTPConnection(gateway.backends.sidecar.admin, timeout=10)) as connection:
        connection.request("GET", "/exchanges")
        told = msgspec.json.decode(connection.getresponse().read())
    return sum(each["process"] == process for each in told["exchanges"])


def test_a_long_body_comes_whole_and_others_do_not_wait(reference: Gateway) -> None:
    assert reference.chat("claude-haiku-4-5").status == 200
    before = counted(reference)
    upstream = reference.anthropic_upstream
    replies: list[Reply] = []
    asking = threading.Thread(
        target=lambda: replies.append(reference.send("/v1/chat/completions", long("claude-haiku-4-5"), AS))
    )
    asking.start()
    short = 0
    while asking.is_alive():
        assert reference.chat("claude-haiku-4-5").status == 200
        short += 1
        time.sleep(0.02)
    asking.join()
    (reply,) = replies
    assert reply.status == 200 and reply.json["usage"]["total_tokens"] > 0
    bodies = [each.body for each in upstream.received if len(each.body) > SIZE]
    (body,) = [msgspec.json.decode(each) for each in bodies]
    text = body["messages"][0]["content"]
    assert (text if isinstance(text, str) else text[0]["text"]) == "x" * SIZE
    assert eventually(lambda: counted(reference) >= before + short + 1), "all count on one page"
    others = processes(reference)
    assert len(others) == (os.environ.get("EXTPROC_TRANSPORT", "h2") == "h2"), "gRPC's own transport has none"
    assert all(exchanges(reference, process) >= 1 for process in others)


def test_its_access_log_is_like_every_other(reference: Gateway) -> None:
    model = "claude-sonnet-4-5"
    reply = reference.send("/v1/chat/completions", long(model, 3_000_000), AS)
    assert reply.status == 200
    entry = reference.logged(model)
    assert str(entry["output_tokens"]) == str(reply.json["usage"]["completion_tokens"])


def test_a_compressed_one_and_one_of_unknown_length(reference: Gateway) -> None:
    body = long("claude-haiku-4-5", 1000)
    squeezed = reference.send("/v1/chat/completions", gzip.compress(body), {**AS, "content-encoding": "gzip"})
    assert squeezed.status == 200
    with closing(http.client.HTTPConnection("127.0.0.1", reference.envoy.port, timeout=30)) as connection:
        pieces = iter([body[:500], body[500:]])
        head = {**AS, "content-type": "application/json", "x-request-id": uuid.uuid4().hex}
        connection.request("POST", "/v1/chat/completions", pieces, head, encode_chunked=True)
        assert connection.getresponse().status == 200


def test_a_stream_of_a_long_request_goes_on_to_its_end(reference: Gateway) -> None:
    body = msgspec.json.encode(
        {"model": "claude-haiku-4-5", "stream": True, "messages": [{"role": "user", "content": "x" * 3_000_000}]}
    )
    reply = reference.send("/v1/chat/completions", body, AS)
    assert reply.status == 200 and reply.body.endswith(b"data: [DONE]\n\n")
