"""A route's ``auth`` as a whole: several ways together, levels over each other, files that change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from extproc import Call, RouteError, Translation
from extproc.credentials import gcp
from extproc.route import compile_route

from ..support.token_endpoint import TokenEndpoint

BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
AWS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "r", "KEY": "k"}
VERTEX = "{provider: vertex-ai, provider_conf: {project_id: p, region: r}, auth: {gcp: {}%s}}"


@pytest.fixture
def tokens() -> Iterator[TokenEndpoint]:
    made = TokenEndpoint()
    yield made
    with gcp._lock:
        for kept in gcp._all.values():
            kept.close()
        gcp._all.clear()
    made.close()


def test_headers_stand_beside_a_token(tokens: TokenEndpoint) -> None:
    text = VERTEX % ", header: {X-Goog-User-Project: '${KEY}'}, query: {key: '${KEY}'}"
    route = compile_route([text], environ={**AWS, "GCP_SERVICE_ACCOUNT": tokens.key()})
    waits = route.begin()
    assert waits is not None
    waits.what.result(5)
    assert route.credentials() == [("x-goog-user-project", "k"), ("authorization", "Bearer token-1")]
    assert route.query("/p", "/x") == ("/p", "key=k")


def test_headers_and_query_stand_beside_a_signature_which_covers_the_query() -> None:
    text = "{provider: bedrock, auth: {aws: {}, header: {x-team: '${KEY}'}, query: {q: '${KEY}'}}}"
    made = []
    for key in ("k", "l"):
        t = Translation(route=compile_route([text], environ={**AWS, "KEY": key}), now=0)
        call = t.request(BODY, path="/v1/chat/completions")
        assert isinstance(call, Call)
        assert call.full_path().endswith(f"?q={key}") and ("x-team", key) in call.all_headers()
        assert key not in call.path.partition("?")[2] and ("x-team", key) not in call.headers
        made.append(dict(call.all_headers())["authorization"])
    assert made[0] != made[1]


HEADER = "auth: {header: {x-api-key: '${KEY}'}}"


@pytest.mark.parametrize("over", [HEADER, "{provider: openai, auth: none}", "auth: none"])
def test_a_level_above_replaces_a_signer_whole(over: str) -> None:
    below = "{provider: bedrock, auth: {aws: {}, header: {x-team: t}}}"
    route = compile_route([below, None, over], environ=AWS)
    assert route.aws is None and route.begin() is None
    assert route.credentials() == ([("x-api-key", "k")] if over is HEADER else [])


def test_a_signer_replaces_the_key_below() -> None:
    below = "{provider: openai, auth: {header: {Authorization: 'Bearer ${KEY}'}}}"
    route = compile_route([below, None, "{provider: bedrock, auth: {aws: {}}}"], environ=AWS)
    assert route.credentials() == [] and route.aws is not None


def test_a_signer_without_a_provider_of_its_own_is_wrong_where_it_stands() -> None:
    with pytest.raises(RouteError) as caught:
        compile_route(["{provider: openai-compatible}", None, "auth: {aws: {}}"], environ=AWS)
    assert str(caught.value) == "endpoint: auth.aws: the host is part of what is signed; give override.endpoint"


def test_a_rotated_file_is_sent_without_a_restart_and_a_bad_one_never_is(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("one\n")
    text = f"{{provider: anthropic, auth: {{header: {{x-api-key: '${{file:{path}}}'}}}}}}"

    def key() -> str:
        call = Translation("anthropic_messages", route=compile_route([text])).request(BODY)
        assert isinstance(call, Call)
        return dict(call.all_headers())["x-api-key"]

    sent = [key()]
    for content in ("two", "bad\nlines", "", "three\r\n"):
        path.write_text(content)
        sent.append(key())
    path.unlink()
    sent.append(key())
    assert sent == ["one", "two", "two", "two", "three", "three"]
