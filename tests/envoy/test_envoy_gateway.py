"""The manifests for Envoy Gateway, in the form in which its Envoy gets them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.processes import Envoy, Sidecar
from extproc.demo.provider import sse_answer
from tests.support import envoygateway
from tests.support.binaries import CURRENT, VERSIONS, Unavailable, binary
from tests.support.gateway import Backends, Gateway
from tests.support.raw import raw
from tests.support.upstream import ScriptedUpstream, events, message_events, text_block

SECRETS = {"OPENAI_API_KEY": "key-of-openai", "ANTHROPIC_API_KEY": "key-of-anthropic"}
ATTRIBUTE = re.compile(r"^(connection\.|source\.|destination\.|request\.|response\.|upstream\.|xds\.route_)[a-z_1-9]*$")
"""What the CustomResourceDefinition of EnvoyExtensionPolicy (v1.9) takes."""


@pytest.fixture(scope="module", params=[VERSIONS[0], CURRENT])
def _running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("eg")
    for name, value in SECRETS.items():
        (folder / name).write_text(value + "\n")
    try:
        envoy = binary(request.param)
    except Unavailable as error:
        pytest.skip(str(error))
    openai, anthropic = ScriptedUpstream(as_openai.answer), ScriptedUpstream(as_anthropic.answer)
    with openai, anthropic, Sidecar(folder, arguments=["--secrets", f"{folder}/*"]) as sidecar:
        assert sidecar.socket
        ports = {"api.openai.com": openai.port, "api.anthropic.com": anthropic.port}
        objects = envoygateway.with_upgrades()
        config = envoygateway.bootstrap(sidecar.socket, ports, {"/run/keys": str(folder)}, objects)
        with Envoy(folder, config, binary=envoy) as running:
            yield Gateway("listener", running, Backends(folder, sidecar, openai, anthropic), Path())


@pytest.fixture
def gateway(_running: Gateway) -> Gateway:
    _running.backends.reset()
    return _running


def test_the_annotation_arrives_and_its_route_is_obeyed(gateway: Gateway) -> None:
    reply = gateway.messages("anything", top_k=5)
    assert reply.status == 200 and reply.json["type"] == "message", reply.body
    assert "top_k:dropped" in reply.headers["x-llm-translation"]
    sent = gateway.openai_upstream.last
    assert sent.path == "/v1/chat/completions" and sent.json()["model"] == "gpt-5"
    assert sent.header("authorization") == "Bearer key-of-openai" and sent.header("host") == "api.openai.com"


@pytest.mark.parametrize(
    ("version", "header"),
    [
        (b"1.1", b"session_id: 1\r\n"),
        (b"1.0", b""),
        (b"1.1", b"Upgrade: TLS/1.2\r\nConnection: Upgrade\r\n"),
    ],
    ids=["underscore", "HTTP/1.0", "Java's offer of TLS"],
)
def test_odd_clients_are_served(gateway: Gateway, version: bytes, header: bytes) -> None:
    body = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
    head = b"POST /v1/chat/completions HTTP/%b\r\nHost: x\r\nConnection: close\r\n%b" % (version, header)
    status, answer = raw(
        gateway.envoy.port, head + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    assert status == 200 and b'"chat.completion"' in answer


def test_the_other_direction_with_the_sdk(gateway: Gateway) -> None:
    stream = gateway.openai().chat.completions.create(
        model="anything", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text.endswith("The sky is blue.")
    sent = gateway.anthropic_upstream.last
    assert sent.path == "/v1/messages" and sent.header("x-api-key") == "key-of-anthropic"
    assert sent.header("host") == "api.anthropic.com" and sent.json()["model"] == "claude-haiku-4-5"


# It takes 11 s: on one version only.
@pytest.mark.parametrize("_running", [CURRENT], indirect=True)
def test_a_stream_outlives_the_timeout_of_the_grpc_service(gateway: Gateway) -> None:
    """Envoy Gateway sets it to 10 s and lets no one change it: it must not be the bound of a stream."""
    slow = sse_answer(events(*message_events(text_block(*"abcdefghijkl"))), pause=0.8)
    gateway.anthropic_upstream.will(slow)
    body = gateway.chat("anything", stream=True).body
    assert body.endswith(b"data: [DONE]\n\n") and b'"l"' in body


def test_without_the_sidecar_nothing_passes(gateway: Gateway) -> None:
    gateway.backends.sidecar.stop()
    assert gateway.messages("anything").status == 503
    assert gateway.openai_upstream.received == []
    gateway.backends.sidecar.start()


def test_every_attribute_is_one_that_the_api_takes() -> None:
    (policy,) = envoygateway.of_kind("EnvoyExtensionPolicy")
    mode = policy["spec"]["extProc"][0]["processingMode"]
    asked = [*mode["request"]["attributes"], *mode["response"]["attributes"]]
    assert asked and all(ATTRIBUTE.match(name) for name in asked)


def test_what_the_manifests_name_is_there() -> None:
    named = {item["metadata"]["name"] for item in envoygateway.manifests()}
    (policy,) = envoygateway.of_kind("EnvoyExtensionPolicy")
    rules = [rule for item in envoygateway.of_kind("HTTPRoute") for rule in item["spec"]["rules"]]
    refs = [ref for item in envoygateway.of_kind("HTTPRoute") for ref in item["spec"]["parentRefs"]]
    refs += policy["spec"]["targetRefs"] + [ref for rule in rules for ref in rule["backendRefs"]]
    assert {ref["name"] for ref in refs} <= named
