"""docs/from-ai-proxy.md names every attribute of the two plugins (rows D1-D30)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from extproc.route.model import ENVOY_OWNS, Level

PAGE = (Path(__file__).parents[2] / "docs" / "from-ai-proxy.md").read_text("utf-8")
BOTH = """provider provider_conf provider_conf.project_id provider_conf.region auth auth.header auth.query auth.gcp
auth.gcp.service_account_json auth.gcp.max_ttl auth.gcp.expire_early_secs options options.model override.endpoint
override.llm_options.max_tokens override.request_body override.request_body_force_override logging.summaries
logging.payloads timeout max_stream_duration_ms max_response_bytes max_req_body_size keepalive keepalive_timeout
keepalive_pool ssl_verify"""
MULTI = """instances instances.name instances.priority instances.weight balancer.algorithm balancer.hash_on balancer.key
fallback_strategy checks.active checks.active.type checks.active.timeout checks.active.concurrency checks.active.host
checks.active.port checks.active.http_path checks.active.https_verify_certificate"""


def rows() -> dict[str, str]:
    found = {}
    for line in PAGE.splitlines():
        if line.startswith("| `"):
            first, rest = line.strip("| ").split(" | ", 1)
            for name in re.findall(r"`([^`]+)`", first):
                found[name] = rest
    return found


@pytest.mark.parametrize("name", [*BOTH.split(), *MULTI.split()])
def test_every_attribute_has_a_row(name: str) -> None:
    assert rows()[name]


@pytest.mark.parametrize("name", ENVOY_OWNS)
def test_what_the_sidecar_refuses_is_named(name: str) -> None:
    assert any(name in row.split(".") or f"instances.{name}" == row for row in rows()) or name == "balancer"


def test_what_is_called_ours_is_a_key_of_the_route() -> None:
    for name, rest in rows().items():
        if rest.endswith("| ours"):
            target = re.findall(r"`([^`]+)`", rest)[0]
            assert target.partition(".")[0] in Level.model_fields, name
