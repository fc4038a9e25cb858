"""Envoy and the sidecar with certificates on both sides, as where they do not share a machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.processes import Envoy, Sidecar
from tests.support.certificates import NAME, Authority
from tests.support.gateway import KEYS, Backends, Gateway, configured
from tests.support.placements import clusters
from tests.support.ports import free_port
from tests.support.upstream import ScriptedUpstream

TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"


def file(path: Path) -> dict[str, str]:
    return {"filename": str(path)}


def socket(authority: Authority, own: tuple[Path, Path] | None) -> dict[str, Any]:
    """What docs/envoy.md says for the cluster of a sidecar with TLS."""
    names = [{"san_type": "DNS", "matcher": {"exact": NAME}}]
    context: dict[str, Any] = {
        "alpn_protocols": ["h2"],
        "validation_context": {"trusted_ca": file(authority.certificate), "match_typed_subject_alt_names": names},
    }
    if own:
        context["tls_certificates"] = [{"certificate_chain": file(own[0]), "private_key": file(own[1])}]
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": TYPE, "sni": NAME, "common_tls_context": context},
    }


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def backends(tmp_path: Path, authority: Authority) -> Iterator[Backends]:
    certificate, key = map(str, authority.issue("sidecar"))
    tls = ["--tls-cert", certificate, "--tls-key", key, "--tls-client-ca", str(authority.certificate)]
    openai, anthropic = ScriptedUpstream(as_openai.answer), ScriptedUpstream(as_anthropic.answer)
    port = free_port()
    sidecar = Sidecar(tmp_path, address=f"127.0.0.1:{port}", environ=KEYS, arguments=["--transport", "grpcio", *tls])
    with openai, anthropic, sidecar:
        yield Backends(tmp_path, sidecar, openai, anthropic)


def gateway(
    shared: Backends, authority: Authority, own: tuple[Path, Path] | None, placement: str = "one-stream"
) -> tuple[Gateway, Envoy]:
    log = shared.folder / "access.log"
    config = configured(shared, placement, log)
    clusters(config)["extproc"]["transport_socket"] = socket(authority, own)
    envoy = Envoy(shared.folder, config)
    return Gateway(placement, envoy, shared, log), envoy


@pytest.mark.parametrize("placement", ["one-stream", "upstream"])
def test_with_certificates_on_both_sides(backends: Backends, authority: Authority, placement: str) -> None:
    made, envoy = gateway(backends, authority, authority.issue("envoy"), placement)
    with envoy:
        message = made.anthropic().messages.create(
            model="gpt-5", max_tokens=99, messages=[{"role": "user", "content": "hi"}]
        )
        assert message.content and backends.openai.received
        reply = made.chat("claude-haiku-4-5", stream=True)
        assert reply.status == 200 and reply.body.endswith(b"data: [DONE]\n\n")


def test_an_envoy_without_one_reaches_nothing(backends: Backends, authority: Authority) -> None:
    made, envoy = gateway(backends, authority, None)
    with envoy:
        assert made.chat("claude-haiku-4-5").status >= 500
        assert not backends.anthropic.received, "nothing goes upstream untranslated"


@pytest.mark.parametrize(("names", "is_taken"), [("envoy", True), ("other,*.test", True), ("another", False)])
def test_a_certificate_must_name_one_of_those_that_are_taken(
    tmp_path: Path, authority: Authority, names: str, is_taken: bool
) -> None:
    certificate, key = map(str, authority.issue("sidecar"))
    tls = ["--tls-cert", certificate, "--tls-key", key, "--tls-client-ca", str(authority.certificate)]
    openai, anthropic = ScriptedUpstream(as_openai.answer), ScriptedUpstream(as_anthropic.answer)
    arguments = ["--transport", "grpcio", *tls, "--tls-client-names", names]
    sidecar = Sidecar(tmp_path, address=f"127.0.0.1:{free_port()}", environ=KEYS, arguments=arguments)
    with openai, anthropic, sidecar:
        made, envoy = gateway(Backends(tmp_path, sidecar, openai, anthropic), authority, authority.issue("envoy"))
        with envoy:
            assert (made.chat("claude-haiku-4-5").status == 200) is is_taken
            assert bool(anthropic.received) is is_taken
