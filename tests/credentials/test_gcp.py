"""Google's tokens (D8-D11, B27), from a token endpoint on loopback."""

from __future__ import annotations

import importlib.util
import itertools
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.auth.exceptions import RefreshError, TransportError

from extproc import Call, RouteError, Translation
from extproc.credentials import gcp
from extproc.credentials.secrets import NotReady
from extproc.route import Route, compile_route
from extproc.translation.calls import Refused

from ..support.token_endpoint import TokenEndpoint

BODY = b'{"model": "google/gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}]}'
CONF = "provider_conf: {project_id: p, region: europe-west1}"


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    made = TokenEndpoint()
    yield made
    with gcp._lock:
        for tokens in gcp._all.values():
            tokens.close()
        gcp._all.clear()
    made.close()


def route(endpoint: TokenEndpoint, options: str = "", key: str | None = None) -> Route:
    text = f"{{provider: vertex-ai, {CONF}, auth: {{gcp: {{{options}}}}}}}"
    return compile_route([text], environ={"GCP_SERVICE_ACCOUNT": key or endpoint.key()})


def soon(what: Callable[[], Any], seconds: float = 5.0) -> Any:
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.01)
    return found


def ready(made: Route) -> str:
    waits = made.begin()
    if waits is not None:
        waits.what.result(5)
    return dict(made.credentials())["authorization"]


@pytest.mark.rows("D8", "D9")
def test_e13_a_request_to_vertex_bears_the_token_of_the_service_account(endpoint: TokenEndpoint) -> None:
    made = route(endpoint)
    assert ready(made) == "Bearer token-1"
    call = Translation(route=made).request(BODY, path="/v1/chat/completions", headers=[("authorization", "Bearer c")])
    assert isinstance(call, Call)
    assert [value for name, value in call.all_headers() if name == "authorization"] == ["Bearer token-1"]
    assert call.path == "/v1/projects/p/locations/europe-west1/endpoints/openapi/chat/completions"
    (claims,) = endpoint.claims
    assert claims["iss"] == "sidecar@project.iam.gserviceaccount.com"
    assert claims["aud"] == "https://oauth2.googleapis.com/token" and claims["scope"] == gcp.SCOPE


def test_a_request_before_the_first_token_is_refused_as_by_an_overloaded_upstream(endpoint: TokenEndpoint) -> None:
    endpoint.gate.clear()
    made = route(endpoint)
    began = time.monotonic()
    for path, status, kind in (("/v1/chat/completions", 503, "overloaded_error"), ("/v1/messages", 529, None)):
        with pytest.raises(Refused) as caught:
            Translation(route=made).request(BODY[:-1] + b', "max_tokens": 5}', path=path)
        error = json.loads(caught.value.body)
        assert caught.value.status == status and dict(caught.value.headers)["retry-after"] == "1"
        assert "no access token" in error["error"]["message"]
        assert kind is None or error["error"]["type"] == kind
    assert time.monotonic() - began < 1, "nothing waits on the network"
    waits = made.begin()
    assert waits is not None and not waits.what.done()
    endpoint.gate.set()
    waits.what.result(5)
    assert ready(made) == "Bearer token-1"


@pytest.mark.rows("B27")
def test_b27_routes_with_the_same_key_share_one_token(endpoint: TokenEndpoint) -> None:
    routes = [route(endpoint) for _ in range(5)]
    assert {ready(made) for made in routes} == {"Bearer token-1"}
    assert len(endpoint.claims) == 1
    assert ready(route(endpoint, key=endpoint.key("other@project.iam.gserviceaccount.com"))) == "Bearer token-2"


@pytest.mark.rows("D11")
def test_d11_a_token_is_renewed_before_it_expires(endpoint: TokenEndpoint) -> None:
    endpoint.expires_in = 3
    made = route(endpoint, "expire_early_secs: 2")
    assert ready(made) == "Bearer token-1"
    began = time.monotonic()
    assert soon(lambda: made.credentials() == [("authorization", "Bearer token-2")])
    assert 0.5 < time.monotonic() - began < 2.5


def clocked(*tokens: tuple[str, float] | Exception, **options: Any) -> tuple[gcp.Tokens, list[float]]:
    """Tokens by hand: no thread, a clock that is set."""
    now = [100.0]
    given = iter(tokens)

    def fetch() -> tuple[str, float]:
        made = next(given)
        if isinstance(made, Exception):
            raise made
        return made

    made = gcp.Tokens(fetch, "me", clock=lambda: now[0], **options)
    made._start = lambda: None  # type: ignore[method-assign]
    return made, now


@pytest.mark.parametrize(
    ("seconds", "options", "pause", "good"),
    [
        (3600, {}, 3540, 3600),
        (3600, {"expire_early": 0}, 3600, 3600),
        (3600, {"max_ttl": 100}, 40, 100),
        (3600, {"max_ttl": 100, "expire_early": 100}, 50, 100),
        (0.5, {}, 1.0, 0.5),
    ],
)
@pytest.mark.rows("D10", "D11")
def test_d10_d11_when_a_token_is_renewed_and_how_long_it_is_good(
    seconds: float, options: dict[str, Any], pause: float, good: float
) -> None:
    tokens, now = clocked(("a", seconds), **options)
    assert tokens.get() is None
    assert tokens._attempt() == pause
    now[0] += good - 0.01
    assert tokens.get() == "a"
    now[0] += 0.02
    assert tokens.get() is None


def test_a_failed_attempt_keeps_the_token_and_comes_again_later_each_time(caplog: pytest.LogCaptureFixture) -> None:
    failures = [OSError("no route", "secret-body")] * 9
    tokens, _ = clocked(("a", 3600), *failures, ("b", 3600), OSError("x"))
    tokens._attempt()
    with caplog.at_level(logging.WARNING):
        assert [tokens._attempt() for _ in failures] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert tokens.get() == "a"
    assert "no access token for me: OSError: no route" in caplog.text and "secret-body" not in caplog.text
    tokens._attempt()
    assert (tokens.get(), tokens._attempt()) == ("b", 1)


def test_the_thread_ends_when_no_one_asks_and_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcp, "IDLE_SECONDS", 0.2)
    count = itertools.count(1)
    tokens = gcp.Tokens(lambda: (f"t{next(count)}", 1.5), "me", expire_early=1.4)
    soon(tokens.get)
    soon(lambda: tokens._thread is None)
    soon(lambda: tokens.get() not in (None, "t1"))
    tokens.close()


def test_an_endpoint_that_fails_is_reported_and_the_wait_is_over(
    endpoint: TokenEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.status = 400
    made = route(endpoint)
    with caplog.at_level(logging.DEBUG):
        endpoint.gate.clear()
        waits = made.begin()
        assert waits is not None
        endpoint.gate.set()
        waits.what.result(5)
        assert made.begin() is None, "no request waits for what has failed"
        with pytest.raises(NotReady):
            made.credentials()
    assert "no access token for sidecar@project.iam.gserviceaccount.com: RefreshError: invalid_grant" in caplog.text
    assert "PRIVATE KEY" not in caplog.text
    endpoint.status = 200
    assert soon(lambda: made.begin() is None and _or_none(made)) == "Bearer token-1"


def _or_none(made: Route) -> str | None:
    try:
        return dict(made.credentials())["authorization"]
    except NotReady:
        return None


def test_a_redirect_is_not_followed_and_an_unreachable_endpoint_is_an_error(endpoint: TokenEndpoint) -> None:
    endpoint.status, endpoint.answer = 307, b"{}"
    fetch = gcp.google_fetch(gcp.service_account(endpoint.key()))
    with pytest.raises(RefreshError):
        fetch()
    assert not endpoint.claims
    with pytest.raises(TransportError, match="cannot be reached"):
        gcp._post("http://127.0.0.1:1/token")


def test_a_new_key_in_the_file_is_used_and_a_bad_one_is_not(
    endpoint: TokenEndpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "sa.json"
    path.write_text(endpoint.key("one@p"))
    made = compile_route(
        [f"{{provider: vertex-ai, {CONF}, auth: {{gcp: {{service_account_json: '${{file:{path}}}'}}}}}}"], environ={}
    )
    assert ready(made) == "Bearer token-1"
    path.write_text("{}")
    with caplog.at_level(logging.WARNING):
        assert [ready(made), ready(made)] == ["Bearer token-1"] * 2
    assert caplog.text.count("kept the last good service account: it has no client_email") == 1
    path.write_text(endpoint.key("two@p") + "\n")
    assert ready(made) == "Bearer token-2"
    assert [claims["iss"] for claims in endpoint.claims] == ["one@p", "two@p"]


PATH = "route: auth.gcp.service_account_json: "


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("nonsense", "not JSON: expected a service account's key"),
        ("[1]", "not a JSON object: expected a service account's key"),
        ("{}", "it has no client_email: expected a service account's key"),
        ('{"client_email": "a", "private_key": 4}', "it has no private_key: expected a service account's key"),
        ('{"client_email": "a", "private_key": "k", "token_uri": "file:///etc/passwd"}', "its token_uri is no URL"),
        ('{"client_email": "a", "private_key": "s3cret", "token_uri": "https://x"}', "its private_key cannot be read"),
    ],
)
def test_what_is_no_key_is_said_without_showing_it(key: str, message: str) -> None:
    text = f"{{provider: vertex-ai, {CONF}, auth: {{gcp: {{}}}}}}"
    with pytest.raises(RouteError) as caught:
        compile_route([text], environ={"GCP_SERVICE_ACCOUNT": key})
    assert str(caught.value) == PATH + message


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        ("{gcp: }", "route: auth.gcp: expected a mapping"),
        ("{gcp: {max_ttl: 0}}", "route: auth.gcp.max_ttl: expected at least 1"),
        ("{gcp: {expire_early_secs: -1}}", "route: auth.gcp.expire_early_secs: expected at least 0"),
        ("{gcp: {ttl: 1}}", "route: unknown key 'auth.gcp.ttl'; did you mean 'max_ttl'? Choose one of: "
         "service_account_json, max_ttl, expire_early_secs"),
        ("{gcp: {}, header: {authorization: x}}",
         "route: auth: gcp and header.authorization would both set the header authorization; give one of them"),
        ("{gcp: {}, aws: {}}", "route: auth: gcp and aws would both set the header authorization; give one of them"),
    ],
)  # fmt: skip
@pytest.mark.rows("D10", "D11")
def test_what_a_route_may_say(auth: str, message: str) -> None:
    with pytest.raises(RouteError) as caught:
        compile_route([f"{{provider: vertex-ai, {CONF}, auth: {auth}}}"], environ={"GCP_SERVICE_ACCOUNT": "{}"})
    assert str(caught.value) == message


def test_without_google_auth_the_route_says_what_to_install(
    endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "google.auth" else found(name))
    with pytest.raises(RouteError, match=r"needs the package google-auth: pip install 'extproc-llm\[gcp\]'"):
        route(endpoint)


def test_nothing_shows_the_key_or_a_token(endpoint: TokenEndpoint, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        made = route(endpoint)
        ready(made)
        shown = f"{made!r} {made.gcp!r} {made.gcp} {list(gcp._all.values())!r} {caplog.text}"
    assert "token-1" not in shown and "PRIVATE" not in shown


def test_the_keys_that_are_kept_are_bounded(endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcp, "MAX_KEYS", 3)
    routes = [route(endpoint, key=endpoint.key(f"{n}@p")) for n in range(5)]
    assert len(gcp._all) == 3
    assert len({ready(made) for made in routes}) == 5, "a route keeps what it uses"
