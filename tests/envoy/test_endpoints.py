"""What else a provider serves, through Envoy in each placement: OpenAI's SDK makes pictures, hears, speaks, keeps
files; bytes pass as bytes, with the provider's key and the model that the route or the list of models says."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import openai
import pytest
from google import genai
from google.genai import types

from extproc.demo.processes import Envoy
from extproc.demo.provider import Received, ScriptedAnswer, json_answer, sse_answer
from tests.support.gateway import CLIENT_KEY, KEYS, PLACEMENTS, Backends, Gateway, configured
from tests.support.placements import ANTHROPIC, OPENAI, add_cluster, add_route, route, routes, set_text
from tests.support.upstream import ScriptedUpstream

SOUND = bytes(range(256)) * 4096 + b"\r\n--\r\n"
PICTURE = os.urandom(3 * 1024 * 1024)
USAGE = {"input_tokens": 50, "output_tokens": 100, "total_tokens": 150}
ALL = f"{OPENAI}endpoints: all\n"
BATCHES = f"{ANTHROPIC}endpoints: [batches]\n"
MODELS = {"claude-batch": BATCHES, "gpt-image-1": ALL, "whisper-1": ALL, "tts-1": ALL,
          "dall-e": f"{ALL}options: {{model: gpt-image-1}}\n"}  # fmt: skip
"""The last one's route sets the model."""
PATHS = ("/v1/files", "/v1/batches", "/v1/realtime")
"""What names no model has a route by its path."""
GOOGLES = "provider: gemini\nauth: {header: {x-goog-api-key: '${ANTHROPIC_API_KEY}'}}\nendpoints: all\n"
OTHERS = {
    "/v1/messages/batches": BATCHES,
    "/v1/cachedContents": GOOGLES,
    "/v1beta/": GOOGLES,
}
"""The same of other APIs."""


def answer(request: Received) -> ScriptedAnswer:
    """As OpenAI's API: what came is told by digests, so that one byte more or less is seen."""
    path = request.path.partition("?")[0]
    digest = hashlib.sha256(request.body).hexdigest()
    if path.startswith("/v1/images/"):
        data = [{"b64_json": base64.b64encode(PICTURE).decode(), "revised_prompt": digest}]
        return json_answer({"created": 1, "data": data, "usage": USAGE})
    if path == "/v1/audio/speech":
        return ScriptedAnswer([SOUND[:1000], SOUND[1000:]], headers=(("content-type", "audio/mpeg"),), stream=True)
    if path == "/v1/audio/transcriptions":
        return json_answer({"text": digest, "usage": {"type": "tokens", **USAGE}})
    if path.endswith("/content"):
        return ScriptedAnswer([SOUND], headers=(("content-type", "application/octet-stream"),))
    if path == "/v1/files" and request.method == "GET":
        return json_answer({"object": "list", "data": [], "has_more": False})
    if path.startswith("/v1/files"):
        found = {"id": "file-1", "object": "file", "bytes": len(request.body), "created_at": 1, "filename": digest}
        return json_answer({**found, "purpose": "batch", "status": "processed", "deleted": True})
    if path.startswith("/v1/messages/batches"):
        return json_answer({"id": "msgbatch_1", "type": "message_batch", "processing_status": "ended",
                            "results_url": digest})  # fmt: skip
    if path.startswith("/v1beta/"):
        return json_answer({"name": "cachedContents/c", "model": "models/gemini-2.5-flash", "displayName": digest})
    if path.startswith("/v1/batches"):
        return json_answer({"id": "batch_1", "object": "batch", "endpoint": request.json()["endpoint"],
                            "input_file_id": request.json()["input_file_id"], "completion_window": "24h",
                            "status": "validating", "created_at": 1})  # fmt: skip
    return json_answer({"error": {"message": f"no {path}", "type": "invalid_request_error"}}, 404)


@dataclass(frozen=True)
class World:
    gateway: Gateway
    upstream: ScriptedUpstream

    @property
    def openai(self) -> openai.OpenAI:
        return self.gateway.openai()


def _by_path(config: dict[str, Any], path: str, text: str | None, cluster: str = "rest") -> None:
    made = {**route(config, "openai"), "name": path, "match": {"prefix": path}}
    made["route"] = {**made["route"], "cluster": cluster}
    made.pop("metadata", None)
    if text is not None:
        set_text(made, text)
    if path == "/v1/realtime":
        made["route"]["upgrade_configs"] = [{"upgrade_type": "websocket"}]
    routes(config).insert(0, made)


@pytest.fixture(scope="module", params=PLACEMENTS)
def _world(request: pytest.FixtureRequest, shared: Backends) -> Iterator[World]:
    placement: str = request.param
    folder = shared.new_folder(f"endpoints-{placement}")
    with ExitStack() as stack:
        upstream = ScriptedUpstream(answer)
        stack.enter_context(upstream)
        config = configured(shared, placement, folder / "access.log")
        on_endpoint = placement == "upstream"
        for model, text in MODELS.items():
            add_cluster(config, model, "openai", upstream.port, text if on_endpoint else None)
            add_route(config, model, "openai", None if on_endpoint else text, cluster=model)
        _rest(config, placement, upstream.port)
        envoy = stack.enter_context(Envoy(folder, config))
        yield World(Gateway(placement, envoy, shared, folder / "access.log"), upstream)


def _rest(config: dict[str, Any], placement: str, port: int) -> None:
    on_route = placement == "listener"
    if on_route:
        # Envoy itself reads the model there, and in forms it reads none.
        _by_path(config, "/v1/images/edits", f"{ALL}options: {{model: gpt-image-1}}\n")
        _by_path(config, "/v1/audio/transcriptions", ALL)
    # In one stream, that of the cluster of two providers has the filter.
    like = "any_provider" if placement == "one-stream" else "openai"
    add_cluster(config, "rest", like, port, None if on_route else ALL)
    for path in PATHS:
        _by_path(config, path, ALL if on_route else None)
    for number, (path, text) in enumerate(OTHERS.items()):
        add_cluster(config, f"rest-{number}", like, port, None if on_route else text)
        _by_path(config, path, text if on_route else None, f"rest-{number}")


@pytest.fixture
def world(_world: World) -> Iterator[World]:
    _world.gateway.backends.reset()
    _world.upstream.reset()
    yield _world
    assert _world.gateway.envoy.alive() and _world.gateway.backends.sidecar.alive()


def check_key(got: Received) -> None:
    assert got.header("authorization") == f"Bearer {KEYS['OPENAI_API_KEY']}"
    assert CLIENT_KEY not in f"{got.path} {got.headers}"


def test_a_picture_of_a_text(world: World) -> None:
    made = world.openai.images.generate(model="gpt-image-1", prompt="a cat", size="1024x1024")
    assert made.data is not None and base64.b64decode(made.data[0].b64_json or "") == PICTURE
    assert made.usage is not None and made.usage.total_tokens == 150
    got = world.upstream.last
    assert (got.path, got.json()["model"]) == ("/v1/images/generations", "gpt-image-1")
    assert made.data[0].revised_prompt == hashlib.sha256(got.body).hexdigest()
    check_key(got)


def test_a_picture_of_a_file(world: World) -> None:
    """A form of several megabytes, in which the model's name is changed where the route says so, and nothing else."""
    named: dict[str, bytes] = {}
    for model in ("gpt-image-1", "dall-e"):
        made = world.openai.images.edit(
            model=model, image=("a.png", PICTURE, "image/png"), prompt="hat", extra_headers={"x-mark": model}
        )
        got = world.upstream.last
        assert (got.path, got.header("x-mark")) == ("/v1/images/edits", model)
        mark = (got.header("content-type") or "").partition("boundary=")[2].encode()
        assert PICTURE in got.body and got.header("content-length") == str(len(got.body))
        assert made.data is not None and made.data[0].revised_prompt == hashlib.sha256(got.body).hexdigest()
        named[model] = got.body.replace(mark, b"MARK")
        check_key(got)
    assert named["dall-e"] == named["gpt-image-1"] and b'name="model"\r\n\r\ngpt-image-1\r\n' in named["dall-e"]


def test_what_is_said(world: World) -> None:
    heard = world.openai.audio.transcriptions.create(model="whisper-1", file=("a.wav", SOUND, "audio/wav"))
    got = world.upstream.last
    assert got.path == "/v1/audio/transcriptions" and SOUND in got.body
    assert heard.text == hashlib.sha256(got.body).hexdigest()
    check_key(got)


@pytest.mark.parametrize("path", ["/v1/responses/compact", "/tokenize", "/score"])
def test_what_asks_for_no_answer_passes_as_json(world: World, path: str) -> None:
    """A conversation to be shortened, and vLLM's own endpoints: the model is the route's, where that sets one."""
    for model in ("gpt-image-1", "dall-e"):
        world.upstream.will(json_answer({"usage": USAGE, "count": 3}))
        reply = world.gateway.send(path, {"model": model, "input": "hi"}, {"authorization": f"Bearer {CLIENT_KEY}"})
        assert (reply.status, reply.json) == (200, {"usage": USAGE, "count": 3})
        got = world.upstream.last
        assert (got.path, got.json()) == (path, {"model": "gpt-image-1", "input": "hi"})
        check_key(got)


def test_speech_is_bytes(world: World) -> None:
    with world.openai.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="hi") as spoken:
        assert spoken.headers["content-type"] == "audio/mpeg"
        assert b"".join(spoken.iter_bytes()) == SOUND
    got = world.upstream.last
    assert (got.path, got.json()["input"]) == ("/v1/audio/speech", "hi")
    check_key(got)


def test_files_and_batches(world: World) -> None:
    client = world.openai
    assert client.files.list().data == []
    check_key(world.upstream.last)
    kept = client.files.create(file=("in.jsonl", SOUND, "application/jsonl"), purpose="batch")
    assert kept.filename == hashlib.sha256(world.upstream.last.body).hexdigest() and SOUND in world.upstream.last.body
    assert client.files.content("file-1").content == SOUND
    assert client.files.delete("file-1").deleted and world.upstream.last.method == "DELETE"
    batch = client.batches.create(
        input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h", metadata={"a": "b"}
    )
    assert (batch.id, world.upstream.last.json()["metadata"]) == ("batch_1", {"a": "b"})
    assert all(CLIENT_KEY not in f"{got.headers}" for got in world.upstream.received)


def test_an_error_is_the_providers_own(world: World) -> None:
    words = {"error": {"message": "content policy", "type": "invalid_request_error", "code": "moderation_blocked"}}
    world.upstream.will(json_answer(words, 400))
    with pytest.raises(openai.BadRequestError) as refused:
        world.openai.images.generate(model="gpt-image-1", prompt="x")
    assert refused.value.code == "moderation_blocked"
    world.upstream.will(ScriptedAnswer([b"<html>"], 403, (("content-type", "text/html"),)))
    with pytest.raises(openai.PermissionDeniedError) as forbidden:
        world.openai.audio.speech.create(model="tts-1", voice="alloy", input="hi")
    assert forbidden.value.type == "permission_error"


def test_a_stream_of_pictures_passes(world: World) -> None:
    kind = b"image_generation."
    events = [
        b'event: %bpartial_image\ndata: {"type":"%bpartial_image","partial_image_index":0}\n\n' % (kind, kind),
        b'event: %bcompleted\ndata: {"type":"%bcompleted","usage":{"total_tokens":12}}\n\n' % (kind, kind),
    ]
    world.upstream.will(sse_answer(events))
    stream = world.openai.images.generate(model="gpt-image-1", prompt="x", stream=True, partial_images=1)
    assert [event.type for event in stream] == ["image_generation.partial_image", "image_generation.completed"]


def test_what_no_route_serves_is_a_404_in_openais_shape(world: World) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        world.openai.fine_tuning.jobs.create(model="claude-haiku-4-5", training_file="f")
    assert missing.value.type == "not_found_error" and not world.gateway.anthropic_upstream.received


# ---- what upgrades


class Echo:
    """A provider that switches protocols, and then says back what it hears."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                with closing(connection):
                    self._speak(connection)

    def _speak(self, connection: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        self.heads.append(data.decode())
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            b"sec-websocket-accept: abc\r\n\r\n"
        )
        while data := connection.recv(65536):
            connection.sendall(data)


@pytest.fixture(scope="module", params=["listener", "upstream"])
def _talking(request: pytest.FixtureRequest, shared: Backends) -> Iterator[tuple[Gateway, Echo]]:
    placement: str = request.param
    folder = shared.new_folder(f"realtime-{placement}")
    with ExitStack() as stack:
        echo = stack.enter_context(closing(Echo()))
        config = configured(shared, placement, folder / "access.log")
        text = f"{ALL}options: {{model: gpt-realtime}}\n"
        add_cluster(config, "rest", "openai", echo.port, text if placement == "upstream" else None)
        _by_path(config, "/v1/realtime", text if placement == "listener" else None)
        envoy = stack.enter_context(Envoy(folder, config))
        yield Gateway(placement, envoy, shared, folder / "access.log"), echo


def test_a_conversation_in_real_time(_talking: tuple[Gateway, Echo]) -> None:
    gateway, echo = _talking
    with closing(socket.create_connection(("127.0.0.1", gateway.envoy.port), timeout=20)) as connection:
        connection.sendall(
            b"GET /v1/realtime?model=mine HTTP/1.1\r\nhost: gateway\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: abc\r\nauthorization: Bearer the-clients-own\r\n"
            b"sec-websocket-protocol: realtime, openai-insecure-api-key.the-clients-own\r\n\r\n"
        )
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(65536)
            assert piece, head
            head += piece
        assert head.startswith(b"HTTP/1.1 101 ") and b"sec-websocket-accept: abc" in head.lower()
        for said in (b"hello", b"\x00" * 100_000):
            connection.sendall(said)
            heard = b""
            while len(heard) < len(said):
                heard += connection.recv(65536)
            assert heard == said
    (got,) = echo.heads
    assert got.startswith("GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\n")
    assert f"Bearer {KEYS['OPENAI_API_KEY']}" in got and "the-clients-own" not in got
    assert "sec-websocket-protocol: realtime\r\n" in got.lower()
    assert gateway.envoy.alive() and gateway.backends.sidecar.alive()


# ---- other APIs


@pytest.mark.rows("E4")
def test_anthropics_sdk_makes_a_batch(world: World) -> None:
    client = world.gateway.anthropic()
    asked: Any = {"model": "claude-batch", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    made = client.messages.batches.create(requests=[{"custom_id": "1", "params": asked}])
    seen = world.upstream.last
    assert made.results_url == hashlib.sha256(seen.body).hexdigest() and seen.json()["requests"][0]["params"] == asked
    assert seen.header("x-api-key") == KEYS["ANTHROPIC_API_KEY"] and seen.header("anthropic-version")
    assert CLIENT_KEY not in str(seen.headers)
    assert client.messages.batches.retrieve("msgbatch_1").id == "msgbatch_1"
    assert world.upstream.last.path == "/v1/messages/batches/msgbatch_1"


@pytest.mark.rows("E4")
def test_googles_sdk_caches_a_content(world: World) -> None:
    where = types.HttpOptions(base_url=world.gateway.url, timeout=30_000)
    client = genai.Client(api_key=CLIENT_KEY, http_options=where)
    config = types.CreateCachedContentConfig(display_name="d", contents="hi")
    made = client.caches.create(model="gemini-2.5-flash", config=config)
    seen = world.upstream.last
    assert made.display_name == hashlib.sha256(seen.body).hexdigest() and seen.path == "/v1beta/cachedContents"
    assert seen.header("x-goog-api-key") == KEYS["ANTHROPIC_API_KEY"]
    assert CLIENT_KEY not in f"{seen.path} {seen.headers}"
    where.api_version = "v1beta"
    other = genai.Client(api_key=CLIENT_KEY, http_options=where)
    other.files.get(name="files/f")
    assert world.upstream.last.path == "/v1beta/files/f"
