from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.check import RULES, Unreadable, check, markdown
from extproc.cli import main
from extproc.reference import config as envoy_config
from tests.check.edits import Places
from tests.check.judged import TEXT, edited, line_of
from tests.support import placements

ROOT = Path(__file__).parents[2]


def test_a_finding_says_line_path_and_what_to_write() -> None:
    text = edited("message_timeout: 10s", "message_timeout: 0.2s")
    (found,) = check(text, "e.yaml")
    assert found.line == line_of(text, "message_timeout: 0.2s")
    assert found.path == (
        "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters[0].typed_config."
        "message_timeout"
    )
    first, *rest = str(found).splitlines()
    assert first == f"e.yaml:{found.line}: warning: message_timeout is shorter than a second [message-timeout]"
    assert [line.split()[0] for line in rest] == ["at:", "then:", "write:"]


@pytest.mark.parametrize(
    ("policies", "says"),
    [
        ("[{redcat: {}}]", "policies[0]: unknown policy 'redcat'; choose one of: "),
        ("[{redact: {}}, {redact: {recognizers: [email]}}]", "policies[1].redact.recognizers: unknown key; choose one"),
        ("5", "policies: expected a list"),
        ("[{rag: {search: {kind: chroma}}}]", "policies[0].rag.search.endpoint: is needed"),
        ("[{moderation: {provider: aliyun}}]", "policies[0].moderation.region_id: is needed"),
        ("[{request_rewrite: {prompt: x, provider: nobody, options: {model: m}}}]", "unknown provider 'nobody'"),
    ],
)
def test_what_is_wrong_with_a_policy_is_said_with_its_path(policies: str, says: str) -> None:
    config = envoy_config.load(ROOT / "examples" / "openai" / "envoy.yaml")
    leaf = placements.routes(config)[0]["metadata"]["filter_metadata"]["extproc"]
    leaf["route"] += f"policies: {policies}\n"
    found = check(yaml.safe_dump(config))
    (wrong,) = [each for each in found if each.code == "route"]
    assert says in wrong.problem and {each.code for each in found} <= {"route", "max-message-timeout"}


def test_a_shared_filter_is_named_once() -> None:
    text = edited("failure_mode_allow: false", "failure_mode_allow: true", 2)
    assert [finding.code for finding in check(text)] == ["failure-mode-allow"] * 2


def test_a_missing_member_has_the_line_of_what_it_belongs_to() -> None:
    text = edited("                  timeout: 0s ", "                  # timeout: 0s ")
    (found,) = check(text)
    assert found.code == "route-timeout-default" and found.line == line_of(text, "cluster: openai\n") - 1


def test_json_with_tabs_and_camel_case_is_read() -> None:
    config = envoy_config.reference()
    config["staticResources"] = config.pop("static_resources")
    text = json.dumps(config).replace("per_connection_buffer_limit_bytes", "perConnectionBufferLimitBytes")
    assert check(text) == []
    text = json.dumps(envoy_config.reference(), indent="\t")
    text = text.replace('"failure_mode_allow": false', '"failureModeAllow": true', 1)
    (found,) = check(text)
    assert found.code == "failure-mode-allow" and found.line == line_of(text, "failureModeAllow")


def test_an_annotation_may_be_asked_for_with_all_metadata() -> None:
    """Envoy Gateway's policy can ask for nothing smaller."""
    config = envoy_config.two_streams(envoy_config.reference())
    places = Places(config)
    places.route["metadata"] = {
        "filter_metadata": {"envoy-gateway": {"resources": [{"annotations": {"extproc": "losses: report"}}]}}
    }
    attributes = places.filter["typed_config"]["request_attributes"]
    attributes[:] = [name for name in attributes if "envoy-gateway" not in name] + ["xds.route_metadata"]
    assert check(json.dumps(config)) == []


def test_a_secret_is_never_shown() -> None:
    text = edited('x-api-key: "${ANTHROPIC_API_KEY}"', "x-api-key: sk-secret-1")
    text = text.replace("losses: report", "losses: loud")
    assert text.count("sk-secret-1") == 1 and len(check(text)) > 1
    assert "sk-secret" not in "".join(map(str, check(text)))


# ---- the answer of /config_dump


def dump(config: dict[str, Any], *, eds: bool = False) -> dict[str, Any]:
    """What Envoy's /config_dump?include_eds says of *config*, with listeners and routes that came by xDS."""
    prefix = "type.googleapis.com/envoy.admin.v3."
    resources = config["static_resources"]
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    table = manager.pop("route_config")
    manager["rds"] = {"route_config_name": table["name"]}
    loads = []
    for cluster in resources["clusters"] if eds else []:
        loads.append({"endpoint_config": cluster.pop("load_assignment")})
        cluster.update({"type": "EDS", "eds_cluster_config": {}})
    return {
        "configs": [
            {"@type": f"{prefix}BootstrapConfigDump", "bootstrap": {"admin": {}}},
            {"@type": f"{prefix}ClustersConfigDump", "static_clusters": [{"cluster": resources["clusters"][-1]}],
             "dynamic_active_clusters": [{"cluster": cluster} for cluster in resources["clusters"][:-1]]},
            {"@type": f"{prefix}ListenersConfigDump",
             "dynamic_listeners": [{"name": "llm", "active_state": {"listener": resources["listeners"][0]}}]},
            {"@type": f"{prefix}RoutesConfigDump", "dynamic_route_configs": [{"route_config": table}]},
            {"@type": f"{prefix}EndpointsConfigDump", "dynamic_endpoint_configs": loads},
        ]
    }  # fmt: skip


@pytest.mark.parametrize("eds", [False, True])
def test_a_config_dump_is_read_as_a_bootstrap_is(eds: bool) -> None:
    assert check(json.dumps(dump(envoy_config.reference(), eds=eds))) == []
    config = envoy_config.two_streams(envoy_config.reference())
    made = json.dumps(dump(config, eds=eds), indent=1)
    made = made.replace("provider: anthropic", "provider: antropic").replace('"timeout": "0s"', '"timeout": "9s"', 1)
    found = check(made)
    assert {finding.code for finding in found} == {"route", "route-timeout"}
    paths = [finding.path for finding in found if finding.code == "route"]
    assert all(path.startswith("configs[4]" if eds else "configs[1]") for path in paths) and len(paths) == 2


def test_another_services_filter_is_left_alone() -> None:
    config = envoy_config.reference()
    chain = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    kind = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
    service = {"envoy_grpc": {"cluster_name": "waf"}}
    chain.insert(0, {"name": "waf", "typed_config": {"@type": kind, "grpc_service": service}})
    assert check(json.dumps(config)) == []


# ---- the command


def test_the_command_and_its_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clean, warned, wrong, broken = (tmp_path / name for name in ("a.yaml", "b.yaml", "c.yaml", "d.yaml"))
    clean.write_text(TEXT)
    warned.write_text(edited("message_timeout: 10s", "message_timeout: 0.2s"))
    wrong.write_text(edited("failure_mode_allow: false", "failure_mode_allow: true"))
    broken.write_text("static_resources: [")
    assert main(["check", str(clean)]) == 0
    assert capsys.readouterr().out == "1 file: nothing found\n"
    assert main(["check", str(warned)]) == 0
    assert capsys.readouterr().out.endswith("1 file: 0 errors, 1 warnings\n")
    assert main(["check", str(clean), str(wrong)]) == 1
    assert "2 files: 1 errors, 0 warnings" in capsys.readouterr().out
    assert main(["check", str(wrong), str(broken)]) == 2
    assert str(broken) in capsys.readouterr().err
    assert main(["check", str(tmp_path / "none.yaml")]) == 2


def test_json_for_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(edited("failure_mode_allow: false", "failure_mode_allow: true"))
    assert main(["check", "--format", "json", str(file)]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["code"], found["severity"], found["file"]) == ("failure-mode-allow", "error", str(file))
    assert set(found) == {"file", "line", "path", "code", "severity", "problem", "trouble", "write"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a mapping"),
        ("[1]", "expected a mapping"),
        ("a: 1", "neither a bootstrap"),
        ("a: [", "line [12], column"),
        ("a: &a {b: *a}\nstatic_resources: *a", "an alias that contains itself"),
        ("configs: []", "neither clusters nor listeners"),
        ("static_resources: 1", None),
        ("static_resources: {clusters: 3, listeners: [1, {filter_chains: x}]}", None),
    ],
)
def test_odd_input_is_unreadable_or_empty_and_never_a_crash(text: str, message: str | None) -> None:
    if message is None:
        assert check(text) == []
    else:
        with pytest.raises(Unreadable, match=message):
            check(text)


def test_an_alias_that_contains_itself() -> None:
    text = edited("json_format:\n", "json_format: &self\n                  more: *self\n")
    with pytest.raises(Unreadable, match="contains itself"):
        check(text)


def test_the_table_has_a_row_for_each_rule() -> None:
    rows = markdown().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(RULES)
    assert all(row.count(" | ") == 4 for row in rows)
