"""Signatures of AWS: known vectors, an independent verifier, botocore itself; and where keys come from."""

from __future__ import annotations

import datetime
import importlib.util
import json
import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from extproc import Call, RouteError, Translation
from extproc.credentials.aws import AwsAuth, FileKeys, Keys
from extproc.route import Route, compile_route

from ..support.sigv4 import verified

SUITE = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
AT = datetime.datetime(2015, 8, 30, 12, 36, tzinfo=datetime.UTC).timestamp()
BODY = b'{"model": "openai.gpt-oss-20b-1:0", "messages": [{"role": "user", "content": "hi"}]}'
ENV = {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "env-secret", "AWS_REGION": "us-west-2", "HOME": "/no"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "names", "signature"),
    [
        ("GET", "/", [], b"", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("GET", "/?Param2=value2&Param1=value1", [], b"", "host;x-amz-date",
         "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ("POST", "/?Param1=value1", [], b"", "host;x-amz-date",
         "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"),
        ("POST", "/", [("content-type", "application/x-www-form-urlencoded"), ("user-agent", "x")], b"Param1=value1",
         "content-type;host;x-amz-date", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
    ],
    ids=["get-vanilla", "get-vanilla-query-order-key-case", "post-vanilla-query", "post-x-www-form-urlencoded"],
)  # fmt: skip
def test_the_vectors_of_awss_own_suite(
    method: str, path: str, headers: list[tuple[str, str]], body: bytes, names: str, signature: str
) -> None:
    auth = AwsAuth(lambda: SUITE, "us-east-1", "service", "example.amazonaws.com")
    assert auth.sign(method, path, headers, body, AT) == [
        ("authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
                          f"SignedHeaders={names}, Signature={signature}"),
        ("x-amz-date", "20150830T123600Z"),
    ]  # fmt: skip


def signed(call: Any, secret: str) -> bool:
    return verified(call.method, call.full_path(), {**dict(call.all_headers()), "host": call.host}, call.body, secret)


def route(auth: str = "{aws: {}}", more: str = "", environ: dict[str, str] | None = None) -> Route:
    return compile_route(
        [f"{{provider: bedrock, upstream: openai_chat, auth: {auth}{more}}}"],
        environ=ENV if environ is None else environ,
    )


def test_a_translated_request_is_signed_as_it_is_sent() -> None:
    leftovers = [
        ("authorization", "Bearer client"), ("x-amz-date", "old"), ("x-amz-security-token", "old"), ("user-agent", "u"),
    ]  # fmt: skip
    t = Translation("anthropic_messages", route=route(environ=ENV | {"AWS_SESSION_TOKEN": "session"}), now=AT)
    call = t.request(BODY[:-1] + b', "max_tokens": 9}', path="/v1/messages", headers=leftovers)
    assert json.loads(call.body)["max_completion_tokens"] == 9
    assert isinstance(call, Call)
    assert (call.host, call.path) == ("bedrock-runtime.us-west-2.amazonaws.com", "/openai/v1/chat/completions")
    assert signed(call, "env-secret") and not signed(call, "another")
    headers = dict(call.all_headers())
    assert len(headers) == len(call.all_headers())
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token," in headers["authorization"]
    assert "Credential=AKIDENV/20150830/us-west-2/bedrock/aws4_request" in headers["authorization"]
    assert (headers["x-amz-security-token"], headers["x-amz-date"]) == ("session", "20150830T123600Z")
    changed = replace(call, body=call.body + b" ")
    assert not signed(changed, "env-secret")


@settings(max_examples=60, deadline=None)
@given(
    model=st.text(st.characters(codec="ascii", exclude_characters="{}", exclude_categories=["Cc"]), min_size=1).filter(
        lambda text: text not in (".", "..")
    ),
    query=st.sampled_from(["", "?a=1", "?b=2&a=1", "?a=%20x&a=b"]),
)
def test_any_path_and_query_verify_and_agree_with_botocores_own_signing(model: str, query: str) -> None:
    more = ", override: {endpoint: 'https://gw.example:8443/model/{model}/invoke?z=1'}"
    t = Translation(route=route(more=more), now=AT)
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "x"}]}).encode()
    call = t.request(body, path=f"/v1/chat/completions{query}")
    assert isinstance(call, Call)
    assert call.host == "gw.example:8443" and call.path.startswith(f"/model/{quote(model, safe='')}/invoke?")
    assert signed(call, "env-secret")
    theirs = AWSRequest("POST", f"https://{call.host}{call.path}", {"content-type": "application/json"}, call.body)
    moment = datetime.datetime.fromtimestamp(AT, datetime.UTC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: moment)
        botocore.auth.SigV4Auth(Credentials("AKIDENV", "env-secret"), "bedrock", "us-west-2").add_auth(theirs)
    assert dict(call.all_headers())["authorization"] == theirs.headers["Authorization"]


def signed_by(made: Route) -> str:
    assert made.aws is not None
    authorization = made.aws.sign("POST", "/", [], b"", AT)[0][1]
    return authorization.partition("Credential=")[2].partition("/aws4")[0]


FILE = """
[default]
aws_access_key_id = AKIDDEFAULT
aws_secret_access_key = s1
[other]
aws_access_key_id = AKIDOTHER
aws_secret_access_key = s2%x
aws_session_token = t2
"""


def test_where_keys_come_from(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(FILE)
    named = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_DEFAULT_REGION": "eu-west-1", "STATIC": "s3"}
    assert signed_by(route()) == "AKIDENV/20150830/us-west-2/bedrock"
    assert signed_by(route("{aws: {region: r, service: s}}")) == "AKIDENV/20150830/r/s"
    assert signed_by(route(more=", provider_conf: {region: c}")) == "AKIDENV/20150830/c/bedrock"
    assert signed_by(route(environ=named)).startswith("AKIDDEFAULT/20150830/eu-west-1/")
    assert signed_by(route(environ=named | {"AWS_PROFILE": "other"})).startswith("AKIDOTHER/")
    assert signed_by(route("{aws: {profile: other}}", environ=named | ENV)).startswith("AKIDOTHER/")
    assert signed_by(route(f"{{aws: {{credentials_file: '{file}'}}}}")).startswith("AKIDDEFAULT/")
    static = "{aws: {access_key_id: AKIDSTATIC, secret_access_key: '${STATIC}', session_token: t}}"
    made = route(static, environ=ENV | named)
    assert signed_by(made).startswith("AKIDSTATIC/")
    assert made.aws is not None and ("x-amz-security-token", "t") in made.aws.sign("GET", "/", [], b"", AT)
    home = tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    (home / ".aws" / "credentials").write_text(FILE)
    assert signed_by(route(environ={"HOME": str(home), "AWS_REGION": "r"})).startswith("AKIDDEFAULT/")


@pytest.mark.parametrize(
    ("auth", "environ", "message"),
    [
        ("{aws: }", ENV, "auth.aws: expected a mapping"),
        ("{aws: {key: x}}", ENV, "unknown key 'auth.aws.key'; choose one of: access_key_id, secret_access_key, "
         "session_token, credentials_file, profile, region, service"),
        ("{aws: {}}", {**ENV, "AWS_REGION": ""},
         "auth.aws.region: give one, here, in provider_conf or as AWS_REGION"),
        ("{aws: {access_key_id: x}}", ENV, "auth.aws: access_key_id and secret_access_key go together"),
        ("{aws: {access_key_id: '${NO}', secret_access_key: x}}", ENV,
         "auth.aws.access_key_id: environment variable NO is not set"),
        ("{aws: {}}", {"HOME": "/no", "AWS_REGION": "r"},
         "auth.aws: file '/no/.aws/credentials': No such file or directory"),
        ("{aws: {}, header: {Authorization: x}}", ENV,
         "auth: aws and header.authorization would both set the header authorization; give one of them"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_path(auth: str, environ: dict[str, str], message: str) -> None:
    with pytest.raises(RouteError) as caught:
        route(auth, environ=environ)
    assert str(caught.value) == f"route: {message}"


def test_a_host_must_be_known() -> None:
    with pytest.raises(RouteError) as caught:
        compile_route(["{provider: openai-compatible, auth: {aws: {}}}"], environ=ENV)
    assert str(caught.value) == "route: auth.aws: the host is part of what is signed; give override.endpoint"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = 1", "is no credentials file"),
        ("[elsewhere]\n", "has no profile 'default'"),
        ("[default]\naws_access_key_id = a\n", "aws_secret_access_key of profile 'default' is empty"),
        ("[default]\naws_access_key_id = a\naws_secret_access_key = top\n secret\n",
         "aws_secret_access_key of profile 'default' holds a line break or another control character"),
    ],
)  # fmt: skip
def test_a_file_that_changes_is_read_again_and_a_bad_one_leaves_the_last_good_keys(
    tmp_path: Path, text: str, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "credentials"
    file.write_text(text)
    with pytest.raises(RouteError) as caught:
        route(f"{{aws: {{credentials_file: '{file}'}}}}")
    assert problem in str(caught.value) and caught.value.transient and "secret\n" not in str(caught.value)
    file.write_text(FILE)
    keys = FileKeys(str(file), "default")
    assert keys() == Keys("AKIDDEFAULT", "s1")
    file.write_text(text)
    with caplog.at_level(logging.WARNING):
        assert [keys(), keys()] == [Keys("AKIDDEFAULT", "s1")] * 2
    assert caplog.text.count("kept the last good AWS keys") == 1 and problem in caplog.text
    file.write_text(FILE.replace("s1", "rotated"))
    assert keys() == Keys("AKIDDEFAULT", "rotated")


def test_nothing_shows_a_key(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        made = route(environ=ENV | {"AWS_SESSION_TOKEN": "session"})
        t = Translation(route=made, now=AT)
        t.request(BODY, path="/v1/chat/completions")
        shown = f"{made!r} {made.aws!r} {Keys('a', 'env-secret', 'session')!r} {caplog.text}"
    assert "env-secret" not in shown and "session" not in shown


def test_without_botocore_the_route_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "botocore" else found(name))
    with pytest.raises(RouteError, match=r"auth.aws: needs the package botocore: pip install 'extproc-llm\[aws\]'"):
        route()
