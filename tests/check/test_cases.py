"""Configurations of a user's own, each right or wrong in a way of its own, and what is said of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from extproc.check import Unreadable, check
from extproc.reference.config import REFERENCE

CASES = Path(__file__).parent / "cases"
SAID: dict[str, list[str]] = {
    # Nothing of ours translates there.
    "no-sidecar-at-all": [],
    "other-service": [],
    "route-disabled": [],
    "weighted-plain": [],
    "direct-response": [],
    # An aggregate's own filters apply, and it has none: the client's own key leaked.
    "aggregate": ["no-filter", "route"],
    "never-enabled": ["never-enabled"],
    "override-mode": ["override-mode"],
    "no-host-rewrite": ["host-rewrite"],
    "secret-elsewhere": ["secret-literal", "secret-literal"],
    "shadowed-routes": ["unreachable-route"] * 3,
    "duplicates": ["duplicate-domain", "duplicate-cluster"],
    "no-such-cluster": ["no-such-cluster"],
    "compressor-behind": ["compressor-order"],
    "filter-after-router": ["filter-after-router"],
    "google-grpc": ["google-grpc"],
}


@pytest.mark.parametrize("name", sorted(path.stem for path in CASES.iterdir()))
def test_what_is_said(name: str) -> None:
    found = check((CASES / f"{name}.yaml").read_text("utf-8"))
    assert [finding.code for finding in found] == SAID[name], list(map(str, found))


def test_another_service_of_a_like_name_is_not_ours() -> None:
    text = (CASES / "other-service.yaml").read_text("utf-8")
    assert check(text.replace("cluster_name: extproc", "cluster_name: the-sidecar").replace(
        "name: extproc\n", "name: the-sidecar\n")) == []  # fmt: skip
    other = REFERENCE.read_text("utf-8").replace(
        "- name: envoy.filters.http.router\n",
        """- name: extproc.auth
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
              grpc_service: {envoy_grpc: {cluster_name: my-extproc-auth}}
              failure_mode_allow: true
          - name: envoy.filters.http.router\n""",
        1,
    )
    assert check(other) == []


# ---- Kubernetes objects


def test_objects_without_a_configuration_are_unreadable() -> None:
    with pytest.raises(Unreadable, match="no Envoy configuration in these objects"):
        check("kind: Secret\nmetadata: {name: x}\n")


# ---- the pieces that the README names


def piece(start: str) -> str:
    """The lines of deploy/envoy.yaml from the one that begins with *start* to where its indentation ends."""
    lines = REFERENCE.read_text("utf-8").splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip() == start)
    indent = len(lines[first]) - len(lines[first].lstrip())
    made = [lines[first]]
    for line in lines[first + 1 :]:
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        made.append(line)
    return "\n".join(made)


OWN = """
static_resources:
  listeners:
  - name: main
    per_connection_buffer_limit_bytes: 67108864
    address: {{socket_address: {{address: 127.0.0.1, port_value: 18000}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: main
          stream_idle_timeout: 600s
          http_filters:
{filter}
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            request_headers_to_remove: [x-extproc-route, x-forwarded-proto]
            virtual_hosts:
            - name: all
              domains: ["*"]
{host}
              - match: {{prefix: /, headers: [{{name: x-extproc-route, present_match: true, invert_match: true}}]}}
                route: {{cluster: web}}
  clusters:
  - name: openai
    type: STATIC
    load_assignment:
      cluster_name: openai
      endpoints:
      - lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 1}}}}}}}}]
  - name: web
    type: STATIC
    load_assignment:
      cluster_name: web
      endpoints:
      - lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 2}}}}}}}}]
{sidecar}
"""


def test_the_readmes_pieces_can_be_taken_literally() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    found = re.search(r"```yaml\n(metadata:.*?)```", readme, re.DOTALL)
    assert found
    host = "\n".join(f"              {line}" for line in found[1].splitlines())
    made = OWN.format(host=host, filter=piece("- name: extproc.listener"), sidecar=piece("- name: extproc"))
    said = check(made)
    assert not [finding for finding in said if finding.severity == "error"], list(map(str, said))
