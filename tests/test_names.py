from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc import Call, Translation
from extproc.headers import CREDENTIAL_HEADERS, upstream_headers
from extproc.names import MAX_NAME, allowed, may_carry_credential, plain, remembered, without_credentials

CARRY = (
    "cf-access-jwt-assertion", "x-goog-iap-jwt-assertion", "x-amzn-oidc-accesstoken", "x-amzn-oidc-data",
    "x-forwarded-access-token", "x-auth-request-access-token", "x-ms-token-aad-access-token", "x-forwarded-client-cert",
    "x-auth-token", "x-access-token", "x-vault-token", "private-token", "dpop", "x-litellm-api-key",
    "x-portkey-api-key", "helicone-auth", "x-forwarded-user", "x-forwarded-email", "x-functions-key", "apikey",
    "x-ms-client-principal", "x-hub-signature-256", "signature-input", "x-csrf-token", "x-wsse-password",
    "tailscale-user-login", "x-pomerium-claim-email", "ssl-client-cert", "x-consumer-username", "remote-user",
    "x-webauth-user", "x-authentik-jwt", "session-cookie", "x-client-cert", "x-secret", "forwarded", "x-forwarded-for",
)  # fmt: skip
"""Headers by which proxies, platforms and other gateways carry who asks."""
QUERY = ("key", "token", "code", "sig", "access_token", "id_token", "apikey", "api_key", "auth", "jwt", "state",
         "password", "secret", "client_secret", "subscription-key", "x-amz-signature", "X-Goog-Credential",
         "AWSAccessKeyId", "signature", "sid", "session")  # fmt: skip
HARMLESS = ("accept", "user-agent", "x-request-id", "traceparent", "anthropic-beta", "anthropic-version", "x-app",
            "idempotency-key", "session_id", "conversation_id", "originator", "x-trace", "x-team", "beta", "alt",
            "$alt", "api-version", "include[]", "starting_after", "limit", "stream")  # fmt: skip

SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda name: name,
    "capitals": str.upper,
    "underscores": lambda name: name.replace("-", "_"),
    "percent": lambda name: "".join(f"%{ord(char):02x}" for char in name),
    "percent twice": lambda name: "".join(f"%25{ord(char):02x}" for char in name),
    "the last letter": lambda name: f"{name[:-1]}%{ord(name[-1]):02X}",
    "a space": lambda name: f"{name}+",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", [*CARRY, *QUERY, *sorted(CREDENTIAL_HEADERS - {"openai-project"})])
def test_names_that_may_carry_a_credential(name: str, spelling: str) -> None:
    spelled = SPELLINGS[spelling](name)
    if name in CREDENTIAL_HEADERS:
        assert upstream_headers([(spelled, "x")], [], [], passthrough=True) == []
    else:
        assert may_carry_credential(spelled)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", HARMLESS)
def test_names_that_carry_none(name: str, spelling: str) -> None:
    assert not may_carry_credential(SPELLINGS[spelling](name))


@pytest.mark.parametrize(
    "name", ["", "%", "%25252525256bey", "\uff4bey", "k\u200bey", "a b", "x" * (MAX_NAME + 1), "a\0"]
)
def test_a_name_that_cannot_be_read_may_carry_anything(name: str) -> None:
    assert plain(name) == "" and may_carry_credential(name)


@given(st.text(max_size=40))
def test_reading_is_final(name: str) -> None:
    read = plain(name)
    assert plain(read) == read or "%" in name or "+" in name
    assert read == read.lower() and "_" not in read


@pytest.mark.parametrize(
    ("path", "kept"),
    [("/a", "/a"), ("/a?key=x", "/a"), ("/a?b=1&KEY=x&c", "/a?b=1&c"), ("/a?api_key=x&b=2", "/a?b=2"), ("/a?", "/a"),
     ("/a?key=x&%6bey=x&api%5fkey=x", "/a"), ("/a?b=1;key=x", "/a?b=1"), ("/a?b=1#key=x", "/a?b=1")],
)  # fmt: skip
def test_a_path_without_the_clients_key(path: str, kept: str) -> None:
    assert without_credentials(path) == kept


def test_patterns_are_names_or_beginnings() -> None:
    names = allowed(["X-Team", "x_tenant-*"])
    assert all(name in names for name in ("x-team", "X_TEAM", "x%2dteam", "x-tenant-", "x-tenant-id"))
    assert not any(name in names for name in ("x-teams", "x-tenant", "", "%"))


OPENAI = {"provider": "openai", "auth": {"header": {"Authorization": "Bearer k"}}}
BODY = b'{"model":"g","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"], ids=["translated", "passed"])
def test_no_secret_of_a_client_goes_to_a_provider(path: str, spelling: str) -> None:
    spelled = SPELLINGS[spelling]
    query = "&".join(f"{spelled(name)}=CLIENTS" for name in QUERY)
    headers = [(spelled(name), "CLIENTS") for name in (*CARRY, *sorted(CREDENTIAL_HEADERS))]
    call = Translation(route=OPENAI, now=1.0).request(BODY, "POST", f"{path}?{query}", headers)
    assert isinstance(call, Call)
    assert "CLIENTS" not in call.full_path() and "CLIENTS" not in repr(call.all_headers())


def test_to_another_api_goes_nothing_that_is_not_named() -> None:
    headers = [(f"x-corp-{n}", "CLIENTS") for n in range(9)]
    call = Translation(route=OPENAI, now=1.0).request(BODY, "POST", "/v1/messages?any=CLIENTS", headers)
    assert isinstance(call, Call)
    assert "CLIENTS" not in call.full_path() and "CLIENTS" not in repr(call.all_headers())


@pytest.mark.parametrize("passthrough", [False, True])
def test_names_that_clients_make_up_are_not_kept(passthrough: bool) -> None:
    def ask(number: int) -> None:
        name = f"{number:05}" * 10_000
        assert plain(name) == "" and may_carry_credential(name)
        t = Translation("openai_chat", "openai_chat" if passthrough else "anthropic_messages")
        body = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
        t.request(body, path=f"/v1/chat/completions?{name}=1", headers=[(f"x-{name}", "1")])
        t.response_head(200, [(f"x-{name}", "1"), ("content-type", "application/json")])

    ask(0)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(1, 200):
            ask(number)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_name_is_looked_up_within_a_bound() -> None:
    asked: list[str] = []

    @remembered(2)
    def said(name: str) -> int:
        asked.append(name)
        return len(name)

    long = "x" * (MAX_NAME + 1)
    assert [said(name) for name in ("a", "bb", "a", "bb", long, long)] == [1, 2, 1, 2, MAX_NAME + 1, MAX_NAME + 1]
    assert asked == ["a", "bb", long, long]
    assert [said(name) for name in ("a", "c", "a", "c")] == [1] * 4
    assert asked[4:] == ["c", "a"]
