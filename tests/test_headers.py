from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.headers import CREDENTIAL_HEADERS, HOP_BY_HOP, Headers, client_headers, passed_headers, upstream_headers
from extproc.names import allowed

ONE = [("content-type", "application/json")]


@pytest.mark.parametrize("name", sorted(CREDENTIAL_HEADERS))
@pytest.mark.parametrize("passthrough", [False, True])
def test_no_credential_of_the_client_goes_upstream(name: str, passthrough: bool) -> None:
    client = [(name, "theirs"), (name.upper(), "theirs too")]
    assert upstream_headers(client, ONE, [], passthrough=passthrough) == ONE


@pytest.mark.rows("B11")
def test_b11_accept_encoding_never_goes_upstream() -> None:
    assert upstream_headers([("Accept-Encoding", "gzip, br")], ONE, []) == ONE


@pytest.mark.parametrize(
    "name",
    ["x-stainless-lang", "x-extproc-model", "x-amz-target", "host", "content-length", "expect", "origin", ":path", "te",
     "transfer-encoding", "content-encoding", "proxy-connection", "anthropic-version", "anthropic-beta", "openai-beta"],
)  # fmt: skip
def test_headers_that_stop_here(name: str) -> None:
    assert upstream_headers([(name, "x")], [], []) == []


def test_other_headers_of_the_client_go_on_to_its_own_api_in_order_and_repeated() -> None:
    client = [("User-Agent", "sdk/1"), ("x-trace", "a"), ("traceparent", "00-1"), ("x-trace", "b")]
    assert upstream_headers(client, ONE, [], passthrough=True) == [
        ("user-agent", "sdk/1"), ("x-trace", "a"), ("traceparent", "00-1"), ("x-trace", "b"), *ONE,
    ]  # fmt: skip


def test_to_another_api_go_those_that_mean_the_same_there() -> None:
    client = [("User-Agent", "sdk/1"), ("x-trace", "a"), ("traceparent", "00-1"), ("x-corp-blob", "secret")]
    assert upstream_headers(client, ONE, []) == [("user-agent", "sdk/1"), ("traceparent", "00-1"), *ONE]


@pytest.mark.parametrize("passthrough", [False, True])
def test_the_route_lets_more_through_but_no_known_credential(passthrough: bool) -> None:
    forward = allowed(["X_Tenant-*", "x-session-token", "openai-*", "x-*"])
    client = [("x-tenant-id", "7"), ("X_TENANT_ID", "8"), ("x-session-token", "t"), ("x-api-key", "k"),
              ("X_Api_Key", "k"), ("openai-organization", "o"), ("x-extproc-model", "m")]  # fmt: skip
    assert upstream_headers(client, [], [], passthrough=passthrough, forward=forward) == [
        ("x-tenant-id", "7"), ("x_tenant_id", "8"), ("x-session-token", "t"),
    ]  # fmt: skip


@pytest.mark.parametrize("passthrough", [False, True])
@pytest.mark.parametrize("name", ["X-Team", "x_team", "x%2dteam", "X%2DTEAM"])
def test_what_the_call_says_replaces_every_spelling(name: str, passthrough: bool) -> None:
    forward = allowed(["x-team"])
    call = [("x-team", "ours")]
    assert upstream_headers([(name, "theirs")], call, [], passthrough=passthrough, forward=forward) == call


def test_what_envoys_router_reads_stays_and_what_envoy_tells_does_not_go() -> None:
    client = [("x-envoy-max-retries", "3"), ("x-envoy-external-address", "10.0.0.1"), ("x-forwarded-for", "10.0.0.1")]
    for passthrough in (False, True):
        assert upstream_headers(client, ONE, [], passthrough=passthrough) == [("x-envoy-max-retries", "3"), *ONE]


@pytest.mark.rows("B26", "D6")
def test_b26_the_call_replaces_the_client_and_auth_replaces_both_whatever_the_case() -> None:
    client = [("Content-Type", "text/plain"), ("X-Team", "client"), ("x-team", "client")]
    call = [("content-type", "application/json"), ("x-team", "call")]
    assert upstream_headers(client, call, [("X-TEAM", "auth"), ("Authorization", "Bearer k")]) == [
        ("content-type", "application/json"), ("x-team", "auth"), ("authorization", "Bearer k"),
    ]  # fmt: skip


def test_headers_that_connection_names_are_hop_by_hop() -> None:
    client = [("Connection", "close, X-Session"), ("x-session", "1"), ("accept", "*/*")]
    assert upstream_headers(client, [], []) == [("accept", "*/*")]


def test_a_dialects_own_headers_go_only_as_the_call_says() -> None:
    client = [("anthropic-version", "2026-10-21"), ("anthropic-beta", "a"), ("openai-beta", "b")]
    call = [("anthropic-version", "2023-06-01")]
    assert upstream_headers(client, call, []) == call
    assert upstream_headers([*client, ("openai-project", "p")], call, [], passthrough=True) == [
        ("anthropic-beta", "a"), ("openai-beta", "b"), *call,
    ]  # fmt: skip


@pytest.mark.parametrize("make", [client_headers, passed_headers])
@pytest.mark.parametrize(
    "name",
    ["set-cookie", "server", "alt-svc", "content-length", "transfer-encoding", "connection",
     "strict-transport-security", "location", "content-location", "refresh", "link", "cf-ray",
     "x-llm-translation", "access-control-allow-origin", ":status"],
)  # fmt: skip
def test_the_providers_host_stays_hidden_from_the_client(
    name: str, make: Callable[[Headers, Headers], Headers]
) -> None:
    assert make([(name.upper(), "x"), ("x-y", "z")], []) == [("x-y", "z")]


@pytest.mark.parametrize(
    "name",
    ["x-request-id", "openai-processing-ms", "anthropic-ratelimit-requests-limit", "request-id",
     "x-ratelimit-limit-tokens", "x-amzn-requestid", "retry-after", "content-encoding", "content-type", "etag"],
)  # fmt: skip
def test_what_only_the_upstreams_api_understands_is_kept_for_its_own_clients(name: str) -> None:
    assert client_headers([(name, "x")], ONE) == ONE
    assert passed_headers([(name, "x")], [("x-own", "y")]) == [(name, "x"), ("x-own", "y")]


def test_own_headers_replace_the_upstreams() -> None:
    upstream = [("Content-Type", "text/html"), ("Date", "now"), ("Cache-Control", "public")]
    own = [("content-type", "application/json"), ("cache-control", "no-cache")]
    assert client_headers(upstream, own) == [("date", "now"), *own]
    assert passed_headers(upstream, own) == [("date", "now"), *own]


NAMES = st.sampled_from([*sorted(CREDENTIAL_HEADERS), *sorted(HOP_BY_HOP), "Accept", "X-A", "x-b", "HOST"])
LISTS = st.lists(st.tuples(NAMES, st.text(max_size=8)), max_size=8)


@given(LISTS, LISTS, LISTS)
def test_the_outcome_is_lower_case_and_holds_no_credential_but_ours(
    client: list[tuple[str, str]], call: list[tuple[str, str]], auth: list[tuple[str, str]]
) -> None:
    out = upstream_headers(client, call, auth)
    assert all(name == name.lower() for name, _ in out)
    written = {name.lower() for name, _ in call + auth}
    assert not {name for name, _ in out} - written & CREDENTIAL_HEADERS
    tail = [(name.lower(), value) for name, value in auth]
    assert out[len(out) - len(tail) :] == tail
    assert {name for name, _ in out[: len(out) - len(tail)]}.isdisjoint(name for name, _ in tail)
