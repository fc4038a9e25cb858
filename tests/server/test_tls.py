"""TLS of the grpcio transport, with gRPC's own client."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from extproc.cli import main
from extproc.envoy_api.grpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from extproc.server import health
from extproc.server.grpcio import GrpcioServer
from extproc.server.service import Service
from extproc.server.tls import identity
from extproc.settings import SettingError, Settings
from tests.support.certificates import Authority

from .test_grpcio import LOOPBACK, run


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def settings(authority: Authority, *, mutual: bool = False) -> Settings:
    certificate, key = map(str, authority.issue("server"))
    client_ca = str(authority.certificate) if mutual else ""
    return replace(LOOPBACK, transport="grpcio", tls_cert=certificate, tls_key=key, tls_client_ca=client_ca)


@asynccontextmanager
async def serving(made: Settings) -> AsyncIterator[list[str]]:
    server = GrpcioServer(made, Service(made))
    try:
        yield await server.start()
    finally:
        await server.drain(0)


async def asked(address: str, credentials: grpc.ChannelCredentials | None) -> str:
    """What the server at *address* says of its health, or why it was not reached."""
    # Each on a connection of its own: certificates are shown when one begins.
    options = [("grpc.use_local_subchannel_pool", 1)]
    secure = grpc.aio.secure_channel(address, credentials, options) if credentials else None
    async with secure or grpc.aio.insecure_channel(address, options) as channel:
        ask = channel.unary_unary(health.CHECK, HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString)
        try:
            answer: HealthCheckResponse = await ask(HealthCheckRequest(), timeout=5)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return HealthCheckResponse.ServingStatus.Name(answer.status)


def trusting(authority: Authority, own: tuple[Path, Path] | None = None) -> grpc.ChannelCredentials:
    """A client's: it takes the authority's certificates, and shows its *own*."""
    certificate, key = (path.read_bytes() for path in own) if own else (None, None)
    return grpc.ssl_channel_credentials(authority.certificate.read_bytes(), key, certificate)


@run
async def test_it_is_spoken_on_tcp_and_not_on_a_socket(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    made = settings(authority)
    async with serving(replace(made, listen=f"127.0.0.1:0,unix:{tmp_path}/x.sock,127.0.0.1:0")) as addresses:
        for address in (addresses[0], addresses[2]):
            assert await asked(address, trusting(authority)) == "SERVING"
            assert await asked(address, trusting(Authority(tmp_path, "another"))) == "UNAVAILABLE"
            assert await asked(address, None) == "UNAVAILABLE"
        assert await asked(addresses[1], None) == "SERVING"


@run
async def test_with_an_authority_for_clients_who_has_no_certificate_of_it_stays_out(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    other = Authority(tmp_path, "another")
    async with serving(settings(authority, mutual=True)) as (address,):
        assert await asked(address, trusting(authority, authority.issue("envoy"))) == "SERVING"
        assert await asked(address, trusting(authority)) == "UNAVAILABLE"
        assert await asked(address, trusting(authority, other.issue("stranger"))) == "UNAVAILABLE"


@run
async def test_a_new_certificate_is_shown_from_the_next_connection_on(tmp_path: Path) -> None:
    first, second = Authority(tmp_path), Authority(tmp_path, "second")
    async with serving(settings(first)) as (address,):
        assert await asked(address, trusting(first)) == "SERVING"
        # The name is that of the files which the server reads.
        second.issue("server")
        assert await asked(address, trusting(second)) == "SERVING"
        assert await asked(address, trusting(first)) == "UNAVAILABLE"
        os.remove(tmp_path / "server.crt")
        assert await asked(address, trusting(second)) == "SERVING", "while it is away, what was read last stays"


def test_what_cannot_be_is_said_at_once(tmp_path: Path, authority: Authority) -> None:
    made = settings(authority)
    stranger = str(Authority(tmp_path, "another").issue("stranger")[1])
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("nonsense")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"tls_key": ""}, "--tls-cert and --tls-key go together"),
        ({"tls_cert": ""}, "--tls-cert and --tls-key go together"),
        ({"tls_cert": "", "tls_key": "", "tls_client_ca": "x"}, "--tls-cert and --tls-key go together"),
        ({"transport": "h2"}, "--tls-cert needs --transport grpcio: h2 does not speak TLS"),
        ({"tls_key": stranger}, "--tls-cert, --tls-key: no certificate with its key"),
        ({"tls_cert": str(nonsense)}, "--tls-cert, --tls-key: no certificate with its key"),
        ({"tls_client_ca": str(nonsense)}, "--tls-client-ca: no certificates"),
        ({"tls_cert": str(tmp_path / "gone")}, "--tls-cert: file '.*gone': No such file"),
    ]
    for change, said in cases:
        with pytest.raises(SettingError, match=said):
            identity(replace(made, **change))
    assert identity(Settings()) is None


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_command_line_says_it(workers: str, authority: Authority, capsys: pytest.CaptureFixture[str]) -> None:
    certificate, key = map(str, authority.issue("server"))
    assert main(["serve", "--workers", workers, "--tls-cert", certificate, "--tls-key", key]) == 2
    assert "--tls-cert needs --transport grpcio" in capsys.readouterr().err


def test_health_is_asked_on_the_sockets_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EXTPROC_TLS_CERT", "any")
    monkeypatch.setenv("EXTPROC_LISTEN", f"127.0.0.1:1,unix:{tmp_path}/x.sock")
    assert main(["health", "--timeout", "1"]) == 1
    said = capsys.readouterr().out
    assert said.startswith(f"unix:{tmp_path}/x.sock UNAVAILABLE") and said.count("\n") == 1
    monkeypatch.setenv("EXTPROC_LISTEN", "127.0.0.1:1")
    assert main(["health"]) == 2
    assert "add a unix:/path to EXTPROC_LISTEN" in capsys.readouterr().err
