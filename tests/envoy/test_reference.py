"""deploy/envoy.yaml as a text: what must hold whatever a user changes in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.exchange.attributes import ROUTES
from extproc.reference import config as envoy_config
from extproc.reference.config import REFERENCE
from extproc.route import compile_route
from extproc.route.catalogue import read_catalogue
from extproc.settings import Settings
from tests.support import placements
from tests.support.gateway import KEYS

ROOT = Path(__file__).parents[2]
FILTER = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"


@pytest.fixture
def config() -> dict[str, Any]:
    return envoy_config.reference()


def filters_of(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = placements.http_options(cluster).get("http_filters", [])
    return found


def upstream_clusters(config: dict[str, Any]) -> list[dict[str, Any]]:
    return [cluster for name, cluster in placements.clusters(config).items() if name != "extproc"]


def test_the_demo_and_the_tests_run_the_file_that_is_shipped() -> None:
    assert REFERENCE.read_bytes() == (ROOT / "deploy" / "envoy.yaml").read_bytes()


def test_the_two_filters_have_different_names(config: dict[str, Any]) -> None:
    listener = [f["name"] for f in placements.manager(config)["http_filters"]]
    names = [f["name"] for cluster in upstream_clusters(config) for f in filters_of(cluster)]
    assert names and not set(names) & set(listener)


def test_the_sidecars_cluster_holds_more_than_the_largest_body(config: dict[str, Any]) -> None:
    """Envoy crashes when an upstream filter's answer goes beyond either of the two bounds."""
    limits = {n: c["per_connection_buffer_limit_bytes"] for n, c in placements.clusters(config).items()}
    own = limits.pop("extproc")
    largest_body = config["static_resources"]["listeners"][0]["per_connection_buffer_limit_bytes"]
    options = placements.http_options(placements.clusters(config)["extproc"])
    window = options["explicit_http_config"]["http2_protocol_options"]["initial_stream_window_size"]
    assert min(own, window) >= 4 * largest_body
    assert max(limits.values()) <= 1024 * 1024


def test_what_is_shipped_keeps_within_its_containers(config: dict[str, Any]) -> None:
    deployment = yaml.safe_load((ROOT / "deploy/kubernetes/socket/deployment.yaml").read_text("utf-8"))
    pod = deployment["spec"]["template"]["spec"]
    limits = {each["name"]: each["resources"]["limits"]["memory"] for each in pod["initContainers"] + pod["containers"]}
    assert limits == {"extproc": "512Mi", "envoy": "1Gi"}
    monitors = {each["name"]: each["typed_config"] for each in config["overload_manager"]["resource_monitors"]}
    heap = monitors["envoy.resource_monitors.fixed_heap"]["max_heap_size_bytes"]
    assert heap <= 0.8 * 1024**3 + 1, "what is no heap needs room too"
    settings = Settings()
    program = 96 * 1024**2
    assert program + settings.max_held_bytes + settings.limits.max_decoded_bytes <= 512 * 1024**2


def test_no_translation_is_ever_skipped(config: dict[str, Any]) -> None:
    filters = [f for f in placements.manager(config)["http_filters"] if f["typed_config"]["@type"] == FILTER]
    for cluster in upstream_clusters(config):
        filters += [f for f in filters_of(cluster) if f["typed_config"]["@type"] == FILTER]
    assert len(filters) == 2, "the listener's, and that of the cluster with two providers"
    for item in filters:
        settings = item["typed_config"]
        assert settings["failure_mode_allow"] is False
        assert settings["processing_mode"]["request_header_mode"] == "SEND"
        assert settings["metadata_options"]["receiving_namespaces"] == {"untyped": ["extproc"]}
    forwarded = [item["typed_config"]["metadata_options"].get("forwarding_namespaces") for item in filters]
    assert forwarded == [None, {"untyped": ["extproc"]}], "nobody on the listener reads what each message would carry"


def test_the_access_log_shows_no_header_that_may_hold_a_key(config: dict[str, Any]) -> None:
    text = yaml.safe_dump(placements.manager(config)["access_log"]).lower()
    assert "%req(" not in text.replace("%req(:method)%", "")
    assert ":path" not in text and "authorization" not in text


def test_every_route_compiles(config: dict[str, Any]) -> None:
    said = placements.one_streams_metadata(config)
    assert said is not None
    for text in said["routes"].values():
        compile_route([text], environ=KEYS).credentials()
    for cluster in upstream_clusters(config):
        for locality in cluster["load_assignment"]["endpoints"]:
            for endpoint in locality["lb_endpoints"]:
                # What an endpoint says is read where its cluster has a filter, and written nowhere else.
                assert ("metadata" in endpoint) is bool(filters_of(cluster))
                if filters_of(cluster):
                    text = endpoint["metadata"]["filter_metadata"]["extproc"]["route"]
                    compile_route(["losses: report", None, text], environ=KEYS).credentials()


def test_a_provider_whose_models_name_its_route_is_written_once(config: dict[str, Any]) -> None:
    said = placements.one_streams_metadata(config)
    assert said is not None
    catalogue = read_catalogue(said["models"])
    asked = placements.manager(config)["http_filters"][0]["typed_config"]["request_attributes"]
    for name in ("openai", "anthropic"):
        assert name in catalogue.routes and name in said["routes"]
        assert f"{ROUTES}['{name}']" in asked
        assert "metadata" not in placements.route(config, name)
    assert [model.id for model in catalogue.listed] == ["gpt-5", "claude-haiku-4-5", "best", "fast"]
    assert catalogue.find_line("best") == ("best", ""), "several providers serve it: by its own route"
    assert catalogue.find_line("claude/opus-4-8") == ("claude-opus-4-8", "anthropic")


@pytest.mark.rows("A19")
def test_anthropics_own_host_and_port(config: dict[str, Any]) -> None:
    (locality,) = placements.clusters(config)["anthropic"]["load_assignment"]["endpoints"]
    (endpoint,) = locality["lb_endpoints"]
    assert endpoint["endpoint"]["address"]["socket_address"] == {"address": "api.anthropic.com", "port_value": 443}


def test_nothing_that_does_not_go_together_stands_together(config: dict[str, Any]) -> None:
    text = yaml.safe_dump(config)
    for word in ("hedge_policy", "internal_redirect_policy", "request_mirror_policies"):
        assert word not in text


def test_rewriting_changes_nothing_but_addresses(config: dict[str, Any]) -> None:
    upstreams = {"api.openai.com": ("127.0.0.1", 1), "api.anthropic.com": ("127.0.0.1", 2)}
    made = envoy_config.rewrite(config, sidecar="/x.sock", upstreams=upstreams)
    assert placements.manager(made) == placements.manager(config)
    for name, cluster in placements.clusters(made).items():
        before = placements.clusters(config)[name]
        for key in set(before) - {"load_assignment", "type", "respect_dns_ttl", "transport_socket"}:
            if key != "typed_extension_protocol_options":
                assert cluster[key] == before[key]
        ours = placements.http_options(cluster).get("http_filters")
        assert ours == placements.http_options(before).get("http_filters")
    assert config == envoy_config.reference()


def test_compose_names_the_hosts_of_the_reference() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]
    hosts = {
        endpoint["endpoint"]["address"]["socket_address"]["address"]
        for cluster in upstream_clusters(envoy_config.reference())
        for locality in cluster["load_assignment"]["endpoints"]
        for endpoint in locality["lb_endpoints"]
    }
    command = compose["configuration"]["command"]
    assert {item.partition("=")[0] for item in command if "=" in item} == hosts
    published = [port for service in compose.values() for port in service.get("ports", [])]
    assert published and all(port.startswith("127.0.0.1:") for port in published)
