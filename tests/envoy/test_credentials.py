"""Credentials that are fetched, signed, or added by Envoy's own filters, as upstreams receive them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from extproc.check import check
from extproc.demo import as_anthropic, as_openai
from extproc.demo.processes import Envoy, Sidecar
from extproc.demo.provider import Received
from tests.support.gateway import CLIENT_KEY, KEYS, Backends, Gateway, configured
from tests.support.placements import add_model, clusters, http_options, route, set_text
from tests.support.sigv4 import verified
from tests.support.token_endpoint import TokenEndpoint
from tests.support.upstream import ScriptedUpstream

AWS = {"AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "secret-of-aws", "AWS_SESSION_TOKEN": "token-of-aws"}
BEDROCK = "provider: bedrock\nupstream: openai_chat\nprovider_conf: {region: us-west-2}\nauth: "
VERTEX = "provider: vertex-ai\nprovider_conf: {project_id: p, region: europe-west1}\nauth: {gcp: {}}\n"
BEDROCK_HOST = "bedrock-runtime.us-west-2.amazonaws.com"
_FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
INJECTOR = {
    "name": "envoy.filters.http.credential_injector",
    "typed_config": {
        "@type": f"{_FILTERS}.credential_injector.v3.CredentialInjector",
        "overwrite": True,
        "credential": {
            "name": "envoy.http.injected_credentials.generic",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic",
                "credential": {"name": "key-of-envoy"},
            },
        },
    },
}
SIGNER = {
    "name": "envoy.filters.http.aws_request_signing",
    "typed_config": {
        "@type": f"{_FILTERS}.aws_request_signing.v3.AwsRequestSigning",
        "service_name": "bedrock",
        "region": "us-west-2",
        "host_rewrite": BEDROCK_HOST,
        "credential_provider": {
            "inline_credential": {"access_key_id": "AKIDENVOY", "secret_access_key": "secret-of-envoy"}
        },
    },
}


HOSTS: dict[str, tuple[dict[str, Any], str | None]] = {
    "named": ({"auto_host_rewrite": True}, BEDROCK_HOST),
    "misnamed": ({"auto_host_rewrite": True}, "another.example"),
    "nameless": ({"auto_host_rewrite": True}, None),
    "left": ({}, "another.example"),
    "off": ({"auto_host_rewrite": False}, None),
    "written": ({"host_rewrite_literal": BEDROCK_HOST}, None),
    "miswritten": ({"host_rewrite_literal": "another.example"}, BEDROCK_HOST),
}
"""What Envoy's route does to the Host of a request that is signed, and what the endpoint is called."""

CODEC = {
    "name": "envoy.filters.http.upstream_codec",
    "typed_config": {"@type": f"{_FILTERS}.upstream_codec.v3.UpstreamCodec"},
}


def behind_ours(cluster: dict[str, Any], added: dict[str, Any]) -> None:
    """Put a filter into the cluster, behind the sidecar's if that is there."""
    http_options(cluster).setdefault("http_filters", [CODEC]).insert(-1, added)


def made(shared: Backends, placement: str) -> dict[str, Any]:
    config = configured(shared, placement, shared.folder / "access.log")
    port = shared.openai.port
    texts = {"aws": f"{BEDROCK}{{aws: {{}}}}\n", "gcp": VERTEX, "injected": "provider: openai\nauth: none\n",
             "signed": f"{BEDROCK}none\n"}  # fmt: skip
    for name, text in texts.items():
        add_model(config, name, port, text)
    # On the listener the host is what Envoy makes of it behind our filter: the endpoint's own name, as in real life.
    for name in ("aws", "signed"):
        (locality,) = clusters(config)[name]["load_assignment"]["endpoints"]
        locality["lb_endpoints"][0]["endpoint"]["hostname"] = BEDROCK_HOST
    for name, (action, hostname) in HOSTS.items():
        add_model(config, f"aws-{name}", port, texts["aws"])
        to = route(config, f"aws-{name}")["route"]
        del to["auto_host_rewrite"]
        to.update(action)
        endpoint = clusters(config)[f"aws-{name}"]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        endpoint.update({"hostname": hostname} if hostname else {})
    behind_ours(clusters(config)["injected"], INJECTOR)
    behind_ours(clusters(config)["signed"], SIGNER)
    secret = {"name": "key-of-envoy", "generic_secret": {"secret": {"inline_string": "Bearer key-of-envoy"}}}
    config["static_resources"]["secrets"] = [secret]
    first = clusters(config)["any_provider"]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
    set_text(first, texts["aws"])
    return config


@pytest.fixture(scope="module", params=["upstream", "one-stream"])
def _running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("keys")
    with ExitStack() as stack:
        tokens = TokenEndpoint()
        stack.callback(tokens.close)
        first, second = ScriptedUpstream(as_openai.answer), ScriptedUpstream(as_anthropic.answer)
        stack.enter_context(first)
        stack.enter_context(second)
        environ = {**KEYS, **AWS, "GCP_SERVICE_ACCOUNT": tokens.key()}
        shared = Backends(folder, stack.enter_context(Sidecar(folder, environ=environ)), first, second)
        (folder / "envoy").mkdir()
        envoy = stack.enter_context(Envoy(folder / "envoy", made(shared, request.param)))
        yield Gateway(request.param, envoy, shared, folder / "access.log")


@pytest.fixture
def gateway(_running: Gateway) -> Iterator[Gateway]:
    _running.backends.reset()
    yield _running
    assert CLIENT_KEY not in repr([*_running.openai_upstream.received, *_running.anthropic_upstream.received])


def is_signed(seen: Received, secret: str) -> bool:
    return verified(seen.method, seen.path, dict(seen.headers), seen.body, secret)


def test_a_signature_holds_for_what_arrives(gateway: Gateway) -> None:
    reply = gateway.messages("aws")
    assert reply.status == 200 and reply.json["type"] == "message", reply.body
    seen = gateway.openai_upstream.last
    assert (seen.header("host"), seen.path) == (BEDROCK_HOST, "/openai/v1/chat/completions")
    assert "messages" in seen.json() and seen.header("x-amz-security-token") == "token-of-aws"
    assert is_signed(seen, "secret-of-aws") and not is_signed(seen, "another")


def test_check_knows_which_signatures_hold(gateway: Gateway) -> None:
    broken = set()
    for name in HOSTS:
        reply = gateway.chat(f"aws-{name}")
        assert reply.status == 200, reply.body
        if not is_signed(gateway.openai_upstream.last, "secret-of-aws"):
            broken.add(f"aws-{name}")
    config = (gateway.access_log.parent / "envoy" / "envoy.json").read_text("utf-8")
    found = [finding.problem for finding in check(config) if finding.code == "signed-host"]
    told = {problem.rpartition(" ")[2] for problem in found}
    assert told == broken and bool(broken) == (gateway.placement == "one-stream")


def test_a_signature_goes_to_no_other_provider(gateway: Gateway) -> None:
    gateway.openai_upstream.will(as_openai.failure(503, "not now", "server_error"))
    reply = gateway.chat("best")
    assert reply.status == 200, reply.body
    assert is_signed(gateway.openai_upstream.last, "secret-of-aws")
    seen = gateway.anthropic_upstream.last
    assert seen.header("x-api-key") == KEYS["ANTHROPIC_API_KEY"] and seen.header("authorization") is None
    assert not [name for name, _ in seen.headers if name.startswith("x-amz-")]
    assert "AKIDTEST" not in repr(seen) and "token-of-aws" not in repr(seen)


@pytest.mark.rows("B27", "D8", "D9")
def test_the_first_request_waits_for_googles_token(gateway: Gateway) -> None:
    for _ in range(2):
        reply = gateway.chat("gcp")
        assert reply.status == 200, reply.body
        seen = gateway.openai_upstream.last
        assert seen.header("authorization") == "Bearer token-1"
        assert seen.path == "/v1/projects/p/locations/europe-west1/endpoints/openapi/chat/completions"


def test_envoys_credential_injector_behind_our_filter(gateway: Gateway) -> None:
    reply = gateway.messages("injected")
    assert reply.status == 200 and reply.json["type"] == "message", reply.body
    seen = gateway.openai_upstream.last
    assert seen.header("authorization") == "Bearer key-of-envoy" and seen.path == "/v1/chat/completions"


def test_envoys_aws_request_signing_behind_our_filter(gateway: Gateway) -> None:
    reply = gateway.messages("signed")
    assert reply.status == 200 and reply.json["type"] == "message", reply.body
    seen = gateway.openai_upstream.last
    assert seen.header("host") == BEDROCK_HOST and "AKIDENVOY/" in (seen.header("authorization") or "")
    assert is_signed(seen, "secret-of-envoy")
