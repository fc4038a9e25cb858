from __future__ import annotations

import pytest

from extproc.check import check, rules_host
from extproc.reference import config as envoy_config
from tests.check.edits import Edit
from tests.check.judged import ListenerPlaces, assert_found, edits_of, listener_config, text_of
from tests.support.placements import clusters, set_text

SIGNED = "provider: bedrock\nupstream: openai_chat\nprovider_conf: {region: us-west-2}\nauth: {aws: {}}\n"
HOST = "bedrock-runtime.us-west-2.amazonaws.com"
ELSEWHERE = "override: {endpoint: 'https://models.example:8443/v1'}\n"


@pytest.mark.parametrize(("code", "edit"), edits_of(rules_host.__name__))
def test_an_edit_gives_its_finding_and_no_other(code: str, edit: Edit) -> None:
    assert_found(code, edit)


@pytest.mark.parametrize(
    ("text", "action", "endpoint", "expected"),
    [
        (SIGNED, {}, {}, []),
        (SIGNED, {"auto_host_rewrite": True}, {}, ["signed-host"]),
        (SIGNED, {"auto_host_rewrite": True}, {"hostname": HOST}, []),
        (SIGNED, {"auto_host_rewrite": True}, {"hostname": f"{HOST}:443"}, ["signed-host"]),
        (SIGNED, {"host_rewrite_literal": HOST}, {}, []),
        (SIGNED, {"host_rewrite_literal": "another"}, {"hostname": HOST}, ["signed-host"]),
        # What cannot be told is not found fault with.
        (SIGNED, {"host_rewrite_header": "x-host"}, {}, []),
        (SIGNED.replace("us-west-2", "'${REGION}'"), {"auto_host_rewrite": True}, {}, []),
        (SIGNED.replace("provider_conf: {region: us-west-2}\n", ""), {"auto_host_rewrite": True}, {}, []),
        # A signature is of the endpoint's host, with its port.
        (SIGNED + ELSEWHERE, {"auto_host_rewrite": True}, {"hostname": "models.example"}, ["signed-host"]),
        (SIGNED + ELSEWHERE, {"auto_host_rewrite": True}, {"hostname": "models.example:8443"}, []),
        # The sidecar says the host of an endpoint, signed or not.
        (f"provider: openai\nauth: none\n{ELSEWHERE}", {}, {}, []),
        ("provider: openai\nauth: none\noverride: {endpoint: '${URL}'}\n", {}, {}, []),
        ("provider: openai\nauth: none\n", {}, {}, ["host-rewrite"]),
        ("provider: openai\nauth: none\n", {"auto_host_rewrite": True}, {}, []),
    ],
)
def test_on_the_listener_envoys_rewriting_has_the_last_word(
    text: str, action: dict[str, object], endpoint: dict[str, str], expected: list[str]
) -> None:
    config = listener_config()
    places = ListenerPlaces(config)
    set_text(places.route, text)
    del places.action["auto_host_rewrite"]
    places.action.update(action)
    places.endpoint["endpoint"].update(endpoint)
    assert [found.code for found in check(text_of(config))] == expected


def test_in_the_cluster_the_sidecar_has_it() -> None:
    config = envoy_config.two_streams(envoy_config.reference())
    set_text(clusters(config)["openai"]["load_assignment"]["endpoints"][0]["lb_endpoints"][0], SIGNED)
    assert check(text_of(config)) == []
