from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from extproc.credentials.gcp import GcpAuth
from extproc.credentials.secrets import NotReady
from extproc.effects import Awaited
from extproc.policy.base import Unavailable
from extproc.route import compile_route
from extproc.route.served import ServedRoute, origin
from tests.support.sigv4 import verified

KEYS = {"access_key_id": "AKID", "secret_access_key": "aws-secret"}
BEDROCK = {"provider": "bedrock", "provider_conf": {"region": "eu-west-1"}, "auth": {"aws": KEYS}}


@pytest.mark.parametrize(
    ("route", "where"),
    [
        ({"provider": "openai", "auth": "none"}, "https://api.openai.com"),
        (BEDROCK, "https://bedrock-runtime.eu-west-1.amazonaws.com"),
        ({**BEDROCK, "override": {"endpoint": "http://127.0.0.1:8080/x"}}, "http://127.0.0.1:8080"),
        ({"provider": "openai", "auth": "none", "override": {"endpoint": "https://[::1]"}}, "https://[::1]"),
        ({"provider": "openai-compatible"}, None),
        ({"provider": "azure-openai", "auth": "none"}, None),
        (
            {"provider": "azure-openai", "auth": "none", "provider_conf": {"resource": "ours"}},
            "https://ours.openai.azure.com",
        ),
    ],
)
def test_where_a_route_leads(route: dict[str, Any], where: str | None) -> None:
    assert origin(compile_route([route])) == where


def test_a_call_is_signed_for_where_it_goes() -> None:
    served = ServedRoute(compile_route([BEDROCK]), "https://bedrock-runtime.eu-west-1.amazonaws.com")
    call = served.call("/guardrail/a%3Ab/version/1/apply", b"{}", seconds=2.0, now=1_800_000_000.0)
    assert (call.method, call.seconds, call.url.partition(".com")[2]) == (
        "POST",
        2.0,
        "/guardrail/a%3Ab/version/1/apply",
    )
    headers = {**dict(call.headers), "host": "bedrock-runtime.eu-west-1.amazonaws.com"}
    assert verified("POST", "/guardrail/a%3Ab/version/1/apply", headers, b"{}", KEYS["secret_access_key"])


def test_keys_in_headers_and_query_go_with_it_and_show_nowhere() -> None:
    auth = {"header": {"X-Key": "SECRET-1"}, "query": {"sig": "SECRET-2"}}
    served = ServedRoute(compile_route([{"provider": "openai", "auth": auth}]), "http://127.0.0.1:1")
    call = served.call("/p?a=1", b"{}", seconds=1.0, now=1.0)
    assert dict(call.headers)["x-key"] == "SECRET-1" and call.url == "http://127.0.0.1:1/p?a=1&sig=SECRET-2"
    assert "SECRET" not in f"{call!r} {served!r}"


def test_without_a_credential_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_yet(self: GcpAuth) -> str:
        raise NotReady("no token yet")

    waits: Future[None] = Future()
    monkeypatch.setattr(GcpAuth, "__init__", lambda self, *_: None)
    monkeypatch.setattr(GcpAuth, "token", none_yet)
    monkeypatch.setattr(GcpAuth, "begin", lambda self: Awaited(waits, 1.0))
    monkeypatch.setenv("GCP_SERVICE_ACCOUNT", "{}")
    route = {"provider": "vertex-ai", "auth": {"gcp": {}}, "provider_conf": {"project_id": "p", "region": "r"}}
    with pytest.raises(Unavailable, match="no token yet"):
        ServedRoute(compile_route([route]), "http://127.0.0.1:1").call("/p", b"{}", seconds=1.0, now=1.0)
