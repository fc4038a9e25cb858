"""The reference configuration with other addresses, as docker-compose writes it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from extproc.demo.processes import envoy_binary
from extproc.reference import config
from tests.support import placements


def test_each_caller_has_a_reference_of_its_own() -> None:
    changed = config.reference()
    changed["static_resources"]["clusters"].clear()
    assert config.reference()["static_resources"]["clusters"]


def endpoints(made: dict[str, Any], name: str) -> list[dict[str, Any]]:
    cluster = placements.clusters(made)[name]
    return [e["endpoint"] for locality in cluster["load_assignment"]["endpoints"] for e in locality["lb_endpoints"]]


def test_compose_writes_names_that_are_looked_up(tmp_path: Path) -> None:
    file = tmp_path / "envoy.yaml"
    hosts = ["--upstream", "api.openai.com=provider:8001", "--upstream", "api.anthropic.com=provider:8002"]
    assert config.main([str(file), "--listen", "0.0.0.0:10000", "--sidecar", "sidecar:50051", *hosts]) == 0
    made = json.loads(file.read_text())
    listener = made["static_resources"]["listeners"][0]
    assert listener["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 10000}
    assert placements.clusters(made)["extproc"]["type"] == "STRICT_DNS"
    assert endpoints(made, "extproc")[0]["address"]["socket_address"] == {"address": "sidecar", "port_value": 50051}
    first, second = endpoints(made, "any_provider")
    assert first["address"]["socket_address"] == {"address": "provider", "port_value": 8001}
    assert (first["hostname"], second["hostname"]) == ("api.openai.com", "api.anthropic.com")
    assert "transport_socket" not in placements.clusters(made)["openai"]


def test_a_socket_is_a_pipe(tmp_path: Path) -> None:
    file = tmp_path / "envoy.yaml"
    hosts = ["--upstream", "api.openai.com=127.0.0.1:1", "--upstream", "api.anthropic.com=127.0.0.1:2"]
    assert config.main([str(file), "--sidecar", "/run/extproc.sock", *hosts]) == 0
    made = json.loads(file.read_text())
    assert endpoints(made, "extproc")[0]["address"] == {"pipe": {"path": "/run/extproc.sock"}}
    assert placements.clusters(made)["openai"]["type"] == "STATIC"


@pytest.mark.envoy
def test_a_host_whose_key_is_there_stays_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE_KEY", "")
    monkeypatch.setenv("OTHER_KEY", "sk-1")
    file = tmp_path / "envoy.yaml"
    hosts = ["--upstream", "api.openai.com=127.0.0.1:1", "--unless", "api.openai.com=ONE_KEY"]
    hosts += ["--upstream", "api.anthropic.com=127.0.0.1:2", "--unless", "api.anthropic.com=OTHER_KEY"]
    assert config.main([str(file), "--sidecar", "/run/extproc.sock", *hosts]) == 0
    made = json.loads(file.read_text())
    original, real = (placements.clusters(c)["anthropic"] for c in (config.reference(), made))
    assert real == original
    assert endpoints(made, "openai")[0]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 1}
    # TLS is for all of a cluster: beside a real endpoint no scripted one can stay.
    only = placements.clusters(made)["any_provider"]["load_assignment"]["endpoints"]
    assert [locality["priority"] for locality in only] == [0]
    assert [e["address"]["socket_address"]["address"] for e in endpoints(made, "any_provider")] == ["api.anthropic.com"]
    validated = subprocess.run(
        [envoy_binary(), "--mode", "validate", "-c", file, "-l", "error"], capture_output=True, text=True, check=False
    )
    assert validated.returncode == 0, validated.stderr


def test_an_upstream_that_is_not_replaced_is_a_mistake() -> None:
    with pytest.raises(KeyError, match=r"api\.anthropic\.com"):
        config.rewrite(config.reference(), sidecar="/x", upstreams={"api.openai.com": ("127.0.0.1", 1)})


def test_what_aliases_share_can_be_changed_by_itself() -> None:
    made = config.reference()
    clusters = placements.clusters(made)
    placements.http_options(clusters["openai"])["common_http_protocol_options"]["idle_timeout"] = "1s"
    assert placements.http_options(clusters["anthropic"])["common_http_protocol_options"]["idle_timeout"] == "50s"


def test_a_line_for_each_route_that_names_a_provider() -> None:
    made = config.saying(config.reference(), "logging: {payloads: true}")
    said = list(config._said(made))
    texts = [each["route"] for each in said if "route" in each]
    texts += [text for each in said for text in each.get("routes", {}).values()]
    naming = [text for text in texts if "provider:" in text]
    assert len(naming) == 4 and all(text.endswith("\nlogging: {payloads: true}\n") for text in naming)
    assert "losses: report" in texts and "logging" not in str(config.reference())


def test_each_provider_behind_a_filter_of_its_cluster() -> None:
    reference, made = config.reference(), config.two_streams(config.reference())
    before, after = placements.clusters(reference), placements.clusters(made)
    filters = placements.http_options(before["any_provider"])["http_filters"]
    for name, model, other in (("openai", "gpt-5.4-mini", "claude-x"), ("anthropic", "claude-haiku-4-5", "gpt-5")):
        assert "http_filters" not in placements.http_options(before[name])
        assert placements.http_options(after[name])["http_filters"] == filters
        ((header,),) = (placements.route(made, name)["match"]["headers"],)
        by_model = re.compile(header["string_match"]["safe_regex"]["regex"])
        assert by_model.fullmatch(model) and not by_model.fullmatch(other)
        (endpoint,) = after[name]["load_assignment"]["endpoints"][0]["lb_endpoints"]
        text = endpoint["metadata"]["filter_metadata"]["extproc"]["route"]
        assert text + "losses: report\n" == placements.one_streams_metadata(reference)["routes"][name]  # type: ignore[index]
    assert placements.one_streams_metadata(made) is None
    assert "x-extproc-route" not in json.dumps(placements.routes(made))
    assert placements.route(made, "any_provider")["route"] == placements.route(reference, "any_provider")["route"]
