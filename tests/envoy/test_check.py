"""What ``extproc check`` warns of is what a real Envoy does: each configuration is wrong as a rule says, and suffers
what the rule says."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.check import check
from extproc.check.validate import by_envoy
from extproc.cli import main
from extproc.demo import as_openai
from extproc.demo.processes import Envoy, Sidecar, envoy_binary
from extproc.demo.provider import Received, ScriptedAnswer, sse_answer
from extproc.importers import convert
from extproc.reference import config as envoy_config
from extproc.settings import TRANSPORTS
from tests.check.edits import GONE, Edit, Places, config, many, mode, put, translated_twice
from tests.support import placements
from tests.support.gateway import CLIENT_KEY, DEAD_PORT, KEYS, Backends, Gateway, configured
from tests.support.raw import not_reading
from tests.support.upstream import chat, chat_chunk, events, eventually

OPENAI_KEY, ANTHROPIC_KEY = KEYS["OPENAI_API_KEY"], KEYS["ANTHROPIC_API_KEY"]
Start = Callable[..., AbstractContextManager[Gateway]]


@pytest.fixture
def wrong(shared: Backends, tmp_path: Path) -> Start:
    """An Envoy with the reference configuration, edited; the check must find *code* in it."""

    return lambda code, edit: misconfigured(shared, tmp_path, code, edit)


@contextmanager
def misconfigured(shared: Backends, folder: Path, code: str, edit: Edit) -> Iterator[Gateway]:
    made = configured(shared, "upstream", folder / "access.log")
    edit(Places(made))
    with at_work(shared, folder, code, made, "upstream") as gateway:
        yield gateway


@contextmanager
def at_work(
    shared: Backends, folder: Path, code: str, made: dict[str, Any], placement: str = "one-stream"
) -> Iterator[Gateway]:
    """An Envoy with what was *made*, in which the check must find *code*."""
    shared.reset()
    assert code in {finding.code for finding in check(json.dumps(made))}
    with Envoy(folder, made) as process:
        yield Gateway(placement, process, shared, folder / "access.log")


def test_skipped_request_headers_cannot_be_changed(wrong: Start) -> None:
    with wrong("request-headers-skip", mode("filter", "request_header_mode", "SKIP")) as gateway:
        assert gateway.messages("gpt-5").status == 500
        assert not any(OPENAI_KEY in repr(seen) for seen in gateway.openai_upstream.received)


@pytest.mark.parametrize(
    ("code", "edit", "status"),
    [
        ("mutation-disallowed", config("filter", "mutation_rules.disallow_all", True), 500),
        ("request-body-mode", mode("filter", "request_body_mode", "STREAMED"), 500),
        ("translated-twice", translated_twice, 500),
        ("route-cache", config("router", "route_cache_action", "RETAIN"), 404),
    ],
)
def test_every_request_fails(wrong: Start, code: str, edit: Edit, status: int) -> None:
    with wrong(code, edit) as gateway:
        assert gateway.messages("gpt-5").status == status


@pytest.mark.parametrize(
    ("code", "edit"),
    [
        ("observability-mode", config("filter", "observability_mode", True)),
        ("forward-rules", config("filter", "forward_rules", {"allowed_headers": {"patterns": [{"exact": "x"}]}})),
        ("role", config("filter", "grpc_service.initial_metadata.0.value", "router")),
    ],
)
def test_the_clients_key_goes_upstream(wrong: Start, code: str, edit: Edit) -> None:
    with wrong(code, edit) as gateway:
        gateway.messages("gpt-5")
        assert CLIENT_KEY in repr(gateway.openai_upstream.last)


def test_without_response_headers_answers_break_off(wrong: Start) -> None:
    with wrong("response-headers-skip", mode("filter", "response_header_mode", "SKIP")) as gateway:
        reply = gateway.messages("gpt-5")
        # Whether Envoy can still say why depends on how soon the body came behind its headers.
        assert reply.status == 500 or (reply.broken and reply.body == b"")


def test_full_duplex_bodies_are_not_understood(wrong: Start) -> None:
    with wrong("response-body-mode", mode("filter", "response_body_mode", "FULL_DUPLEX_STREAMED")) as gateway:
        reply = gateway.messages("gpt-5")
        assert reply.status == 500 or reply.broken


def test_a_refusal_that_may_not_be_said_becomes_a_500(wrong: Start) -> None:
    with wrong("immediate-response", config("filter", "disable_immediate_response", True)) as gateway:
        assert gateway.messages("gpt-5", messages=7).status == 500


def test_without_the_sidecar_an_allowed_failure_sends_the_clients_key(wrong: Start) -> None:
    def edit(places: Places) -> None:
        address = {"socket_address": {"address": "127.0.0.1", "port_value": DEAD_PORT}}
        places.sidecar["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"] = {"address": address}
        places.sidecar["type"] = "STATIC"
        places.sidecar.pop("health_checks")
        places.filter["typed_config"]["failure_mode_allow"] = True
        places.router["typed_config"]["failure_mode_allow"] = True
        places.route["match"].pop("headers")
        # The routes that tests add stand before it.
        routes = placements.routes(places.config)
        routes.remove(places.route)
        routes.insert(0, places.route)

    with wrong("failure-mode-allow", edit) as gateway:
        assert gateway.chat("gpt-5").status == 200
        assert CLIENT_KEY in repr(gateway.openai_upstream.last)


def test_without_memory_the_second_attempt_is_lost(wrong: Start) -> None:
    def edit(places: Places) -> None:
        for cluster in places.clusters.values():
            for item in placements.http_options(cluster).get("http_filters", [])[:1]:
                item["typed_config"]["metadata_options"].pop("forwarding_namespaces")

    with wrong("forwarding-namespace", edit) as gateway:
        gateway.openai_upstream.will(as_openai.failure(503, "not now", "server_error"))
        # The first attempt's path is taken for the client's, and so is the API that it belongs to.
        assert gateway.messages("best").json["object"] == "chat.completion"


def test_a_map_as_an_attribute_is_of_no_use(wrong: Start) -> None:
    names = ["xds.upstream_host_metadata.filter_metadata['extproc']", "upstream.request_attempt_count"]
    with wrong("attributes-map", config("filter", "request_attributes", names)) as gateway:
        reply = gateway.chat("gpt-5")
        assert reply.status == 500 and "metadata" in reply.json["error"]["message"]


def test_an_override_by_an_equal_name_reaches_both_filters(wrong: Start) -> None:
    kind = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"

    def edit(places: Places) -> None:
        places.filter["name"] = places.router["name"]
        mine = {"@type": kind, "overrides": {"processing_mode": {"request_body_mode": "NONE"}}}
        places.route["typed_per_filter_config"] = {places.router["name"]: mine}

    with wrong("equal-names", edit) as gateway:
        assert gateway.chat("gpt-5").status == 500
        assert gateway.chat("claude-x").status == 200


def test_a_signer_before_the_translation_signs_for_nothing(wrong: Start) -> None:
    def edit(places: Places) -> None:
        prefix = "type.googleapis.com/envoy.extensions"
        secret = {"name": "key", "generic_secret": {"secret": {"inline_string": "key-of-envoy"}}}
        places.config["static_resources"]["secrets"] = [secret]
        generic = {"@type": f"{prefix}.http.injected_credentials.generic.v3.Generic", "credential": {"name": "key"}}
        injector = {
            "@type": f"{prefix}.filters.http.credential_injector.v3.CredentialInjector",
            "credential": {"name": "generic", "typed_config": generic},
            "overwrite": True,
        }
        places.options["http_filters"].insert(0, {"name": "injector", "typed_config": injector})
        placements.set_text(places.endpoint, "provider: openai\nauth: none\n")

    with wrong("signer-order", edit) as gateway:
        assert gateway.chat("gpt-5").status == 200
        assert gateway.openai_upstream.last.header("authorization") is None


def test_a_log_of_a_header_shows_the_providers_key(wrong: Start) -> None:
    more = put("manager", "access_log.0.typed_config.log_format.json_format.more", "%REQ(AUTHORIZATION)% %REQ(:PATH)%")
    with wrong("log-credential", more) as gateway:
        assert gateway.messages("gpt-5").status == 200
        assert eventually(lambda: OPENAI_KEY in gateway.access_log.read_text())
        assert "/v1/chat/completions" in gateway.access_log.read_text()


def test_a_status_that_was_mapped_is_not_retried(wrong: Start) -> None:
    codes = put("both", "retry_policy.retriable_status_codes", [503])
    with wrong("retry-503-529", codes) as gateway:
        gateway.openai_upstream.will(as_openai.failure(503, "not now", "server_error"))
        assert gateway.messages("best").status == 529
        assert gateway.anthropic_upstream.received == []


def test_without_a_retry_priority_the_same_provider_is_asked_again(wrong: Start) -> None:
    with wrong("retry-priority", put("both", "retry_policy.retry_priority", GONE)) as gateway:
        failure = as_openai.failure(503, "not now", "server_error")
        gateway.openai_upstream.will(failure, failure)
        assert gateway.chat("best").status == 503
        assert len(gateway.openai_upstream.received) == 2 and gateway.anthropic_upstream.received == []


def test_an_internal_redirect_is_not_followed(wrong: Start) -> None:
    def edit(places: Places) -> None:
        places.action["internal_redirect_policy"] = {"max_internal_redirects": 1}
        made = {"name": "elsewhere", "match": {"path": "/elsewhere"}, "route": {"cluster": "plain", "timeout": "0s"}}
        port = places.clusters["anthropic"]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
        placements.add_cluster(places.config, "plain", "openai", port["socket_address"]["port_value"])
        placements.http_options(placements.clusters(places.config)["plain"]).pop("http_filters")
        placements.routes(places.config)[:] = [made, places.route]
        places.manager["http_filters"].pop(0)
        places.route["match"].pop("headers")
        # Without x-forwarded-proto Envoy finds no route for a redirect, which hides the leak and is no protection.
        places.table.pop("request_headers_to_remove")

    with wrong("internal-redirect", edit) as gateway:
        host = f"127.0.0.1:{gateway.envoy.port}"
        moved = ScriptedAnswer(status=302, headers=(("location", f"http://{host}/elsewhere"),))
        gateway.openai_upstream.will(moved)
        # The sidecar makes a 502 of it, which the route retries where it was.
        assert gateway.chat("gpt-5").status == 200
        assert len(gateway.openai_upstream.received) == 2 and gateway.anthropic_upstream.received == []


def test_a_mirror_without_the_filter_gets_the_clients_key(wrong: Start) -> None:
    def edit(places: Places) -> None:
        port = places.clusters["anthropic"]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
        placements.add_cluster(places.config, "mirror", "openai", port["socket_address"]["port_value"])
        placements.http_options(placements.clusters(places.config)["mirror"]).pop("http_filters")
        places.action["request_mirror_policies"] = [{"cluster": "mirror"}]

    with wrong("mirror-filter", edit) as gateway:
        assert gateway.chat("gpt-5").status == 200
        assert eventually(lambda: CLIENT_KEY in repr(gateway.anthropic_upstream.received))


def test_a_route_with_a_timeout_cuts_an_answer(wrong: Start) -> None:
    def slow(request: Received) -> ScriptedAnswer:
        return replace(chat(), delay=1.0)

    with wrong("route-timeout", put("action", "timeout", "0.3s")) as gateway:
        undo = gateway.openai_upstream.always(slow)
        try:
            assert gateway.chat("gpt-5").status == 504
        finally:
            undo()


def test_a_100_continue_that_is_passed_on_hangs(wrong: Start) -> None:
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    with wrong("continue-100", put("manager", "proxy_100_continue", True)) as gateway:
        connection = socket.create_connection(("127.0.0.1", gateway.envoy.port), 2)
        with closing(connection), pytest.raises(TimeoutError):
            connection.sendall(f"{head}content-length: 90\r\nexpect: 100-continue\r\n\r\n".encode())
            connection.recv(100)


# ---- crashes, each of an Envoy of its own


UNREAD = b'{"model":"gpt-5","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}'


def crashes(gateway: Gateway) -> bool:
    return eventually(lambda: not gateway.envoy.alive(), 5)


def test_hedging_crashes_envoy(wrong: Start) -> None:
    """When one of two attempts in flight fails."""
    edit = many(
        put("action", "hedge_policy", {"hedge_on_per_try_timeout": True}),
        put("action", "retry_policy", {"retry_on": "5xx", "num_retries": 2, "per_try_timeout": "0.2s"}),
    )
    with wrong("hedge-policy", edit) as gateway:
        gateway.openai_upstream.will(replace(chat(), delay=1.0), replace(chat(), status=503))
        with suppress(OSError):
            gateway.chat("gpt-5")
        assert crashes(gateway)


def test_a_client_that_does_not_read_crashes_envoy(wrong: Start) -> None:
    """When the end of the stream has come, and more of it waits than the listener's bound."""
    (one,) = events(chat_chunk(content="x" * 60_000))
    with (
        wrong("slow-client", put("listener", "per_connection_buffer_limit_bytes", GONE)) as gateway,
        ExitStack() as stack,
    ):
        for length in (20, 30, 40, 70):
            gateway.openai_upstream.will(sse_answer([one] * length))
            with suppress(OSError):
                stack.enter_context(not_reading(gateway.envoy.port, UNREAD))
            if crashes(gateway):
                return
        raise AssertionError("it lives")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_answer_larger_than_the_sidecars_buffer_crashes_envoy(
    shared: Backends, tmp_path: Path, transport: str
) -> None:
    """Only where the sidecar takes in the answer more slowly than Envoy hands it on: with h2 it was not seen."""
    edit = put("sidecar", "per_connection_buffer_limit_bytes", GONE)
    with Sidecar(tmp_path, environ=KEYS, arguments=["--transport", transport]) as sidecar:
        own = replace(shared, sidecar=sidecar)
        with misconfigured(own, tmp_path, "sidecar-buffer", edit) as gateway:
            gateway.openai_upstream.will(chat("x" * 3_000_000))
            reply = None
            with suppress(OSError):
                reply = gateway.messages("gpt-5")
            if transport == "grpcio":
                assert crashes(gateway)
            else:
                assert reply is not None and reply.status == 200, reply


# ---- where the router's one stream translates


@pytest.fixture
def one(shared: Backends, tmp_path: Path) -> dict[str, Any]:
    return configured(shared, "one-stream", tmp_path / "access.log")


def test_a_key_whose_route_is_gone_reaches_whoever_takes_anything(
    shared: Backends, tmp_path: Path, one: dict[str, Any]
) -> None:
    placements.routes(one).remove(placements.route(one, "openai"))
    placements.route(one, "anthropic")["match"] = {"prefix": "/"}
    with at_work(shared, tmp_path, "key-astray", one) as gateway:
        gateway.messages("gpt-5")
        assert gateway.anthropic_upstream.last.header("authorization") == f"Bearer {OPENAI_KEY}"


def test_a_mirror_gets_the_key_that_the_request_bears(shared: Backends, tmp_path: Path, one: dict[str, Any]) -> None:
    placements.route(one, "openai")["route"]["request_mirror_policies"] = [{"cluster": "anthropic"}]
    with at_work(shared, tmp_path, "mirror-key", one) as gateway:
        assert gateway.messages("gpt-5").status == 200
        assert eventually(lambda: OPENAI_KEY in repr(gateway.anthropic_upstream.received))


def test_a_route_header_that_stays_is_sent_on(shared: Backends, tmp_path: Path, one: dict[str, Any]) -> None:
    placements.manager(one)["route_config"].pop("request_headers_to_remove")
    with at_work(shared, tmp_path, "route-header-sent", one) as gateway:
        assert gateway.messages("gpt-5").status == 200
        assert gateway.openai_upstream.last.header("x-extproc-route") == "openai"


# ---- what the importers write is what Envoy reads


APISIX: dict[str, Any] = {
    "id": "r1", "uris": ["/a/*", "/b"], "methods": ["POST"], "vars": [["post_arg.model", "==", "m"]],
    "plugins": {"ai-proxy-multi": {
        "fallback_strategy": ["http_429", "http_5xx"],
        "balancer": {"algorithm": "chash", "hash_on": "header", "key": "u"},
        "max_stream_duration_ms": 90000, "keepalive": False,
        "instances": [
            {"name": "a", "provider": "openai", "priority": 9, "weight": 8, "auth": {"header": {"Authorization": "x"}},
             "checks": {"active": {"type": "https", "host": "h", "healthy": {"http_statuses": [200]}},
                        "passive": {"unhealthy": {"http_failures": 4}}}},
            {"name": "b", "provider": "openai-compatible", "override": {"endpoint": "http://127.0.0.1:8000"}},
        ],
    }},
}  # fmt: skip
AIGW: list[Any] = [
    {"kind": "AIGatewayRoute", "metadata": {"name": "r"}, "spec": {"hostnames": ["h.x"], "rules": [
        {"matches": [{"headers": [{"name": "x-ai-eg-model", "value": "m"}]}], "streamIdleTimeout": "20s",
         "timeouts": {"request": "2m", "backendRequest": "40s"}, "backendRefs": [{"name": "b"}]}]}},
    {"kind": "AIServiceBackend", "metadata": {"name": "b"}, "spec": {
        "schema": {"name": "Anthropic"}, "backendRef": {"name": "b"},
        "headerMutation": {"set": [{"name": "a", "value": "1"}]}}},
    {"kind": "Backend", "metadata": {"name": "b"}, "spec": {
        "endpoints": [{"fqdn": {"hostname": "api.anthropic.com", "port": 443}}]}},
    {"kind": "BackendTLSPolicy", "metadata": {"name": "b"}, "spec": {"targetRefs": [{"name": "b"}]}},
]  # fmt: skip


@pytest.mark.parametrize(("source", "document"), [("apisix", [APISIX]), ("aigw", AIGW)])
def test_envoy_accepts_what_is_imported(source: str, document: list[Any], tmp_path: Path) -> None:
    made = convert(source, yaml.safe_dump_all(document).encode())
    file = tmp_path / "envoy.yaml"
    file.write_text(made.yaml)
    command = [str(envoy_binary()), "--mode", "validate", "-c", str(file), "--use-dynamic-base-id", "-l", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_reference_read_back_from_envoys_config_dump_is_clean(reference: Gateway) -> None:
    text = reference.envoy.admin("GET", "/config_dump?include_eds")[1].decode()
    found = check(text)
    # The tests add routes that are wrong on purpose.
    assert {finding.code for finding in found} <= {"route", "named-route", "no-metadata"}, list(map(str, found))
    assert any("unknown provider 'nobody'" in finding.problem for finding in found)


# ---- what Envoy itself refuses


def test_what_envoy_refuses_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = envoy_config.reference()
    config["static_resources"]["clusters"][0]["no_such_field"] = 1
    file = envoy_config.write(config, tmp_path / "envoy.yaml")
    assert main(["check", "--no-envoy", str(file)]) == 0
    assert main(["check", str(file)]) == 1
    out = capsys.readouterr().out
    assert "error: Envoy refuses it: " in out and "no_such_field" in out and "[envoy]" in out


def test_what_only_this_machine_lacks_is_no_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = envoy_config.reference()
    tls = config["static_resources"]["clusters"][0]["transport_socket"]["typed_config"]
    tls["common_tls_context"]["validation_context"]["trusted_ca"]["filename"] = "/nowhere/ca.crt"
    assert main(["check", str(envoy_config.write(config, tmp_path / "envoy.yaml"))]) == 0
    assert "nothing found" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["duplicates", "no-such-cluster", "filter-after-router"])
def test_what_we_say_envoy_refuses_it_does(name: str, tmp_path: Path) -> None:
    file = Path(__file__).parents[1] / "check" / "cases" / f"{name}.yaml"
    (found,) = by_envoy(file, envoy_binary())
    assert found.severity == "error" and found.problem
