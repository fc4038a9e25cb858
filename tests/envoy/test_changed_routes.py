"""Routes and clusters that Envoy reads from files, changed while it runs: what docs/operations.md says of that."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.demo import as_openai
from extproc.demo.processes import Envoy
from extproc.demo.provider import Gate, sse_answer
from tests.support import placements
from tests.support.gateway import Backends, Gateway, configured
from tests.support.upstream import ScriptedUpstream, events, eventually, message_events, text_block

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
KINDS = {
    "routes": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
    "clusters": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
}


def shown() -> dict[str, Any]:
    """The parts of Envoy's configuration that the page shows, by the member that they begin with."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return {name: value for block in blocks for name, value in yaml.safe_load(block).items()}


@dataclass(frozen=True)
class Watched:
    """An Envoy whose routes and clusters stand in files."""

    gateway: Gateway
    folder: Path
    config: dict[str, Any]
    """What it began with, all in one."""

    def write(self, kind: str, resources: list[dict[str, Any]]) -> None:
        """As the page says: beside it, then moved over it."""
        text = yaml.safe_dump({"resources": [{"@type": KINDS[kind], **each} for each in resources]})
        beside = self.folder / f"{kind}.new"
        beside.write_text(text)
        os.replace(beside, self.folder / f"{kind}.yaml")

    @property
    def said(self) -> dict[str, Any]:
        """What the virtual host says to the sidecar."""
        host = self.config["static_resources"]["routes"]["virtual_hosts"][0]
        found: dict[str, Any] = host["metadata"]["filter_metadata"]["extproc"]
        return found

    def routes(self) -> None:
        self.write("routes", [self.config["static_resources"]["routes"]])

    def clusters(self) -> None:
        self.write("clusters", list(self.config["static_resources"]["clusters"]))

    @property
    def openai(self) -> dict[str, Any]:
        """The one endpoint of that provider."""
        cluster = placements.clusters(self.config)["openai"]
        found: dict[str, Any] = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
        return found

    def tell(self, text: str) -> str:
        """Have the sidecar be told *text* of OpenAI's models, where it reads that; what it was told before."""
        if self.gateway.placement == "upstream":
            said = self.openai["metadata"]["filter_metadata"]["extproc"]
            before, said["route"] = said["route"], text
            self.clusters()
        else:
            before, self.said["routes"]["openai"] = self.said["routes"]["openai"], text
            self.routes()
        return str(before)


@pytest.fixture(scope="module", params=["one-stream", "upstream"])
def watched(request: pytest.FixtureRequest, shared: Backends) -> Iterator[Watched]:
    folder = shared.new_folder(f"watched-{request.param}")
    config = configured(shared, request.param, folder / "access.log")
    # As the page's reader would: cut out of deploy/envoy.yaml, and the page's lines in their place.
    here = yaml.safe_load(yaml.safe_dump(shown()).replace("/etc/envoy", str(folder)))
    running = {"admin": config["admin"], "node": here["node"], "dynamic_resources": here["dynamic_resources"]}
    running["overload_manager"] = config["overload_manager"]
    static = config["static_resources"]
    manager = placements.manager(config)
    static["routes"] = manager.pop("route_config")
    manager["rds"] = here["rds"]
    sidecar = placements.clusters(config)["extproc"]
    static["clusters"].remove(sidecar)
    running["static_resources"] = {"listeners": static["listeners"], "clusters": [sidecar]}
    envoy = Envoy(folder, running)
    made = Watched(Gateway(request.param, envoy, shared, folder / "access.log"), folder, config)
    made.routes()
    made.clusters()
    with envoy:
        yield made


def test_a_model_goes_to_another_provider_from_one_request_to_the_next(watched: Watched) -> None:
    gateway = watched.gateway
    gateway.backends.reset()
    assert eventually(lambda: gateway.messages("gpt-5").status == 200, 30)
    assert gateway.messages("new").status == 404
    gate = Gate()
    first, *rest = events(*message_events(text_block("one", "two")))
    gateway.anthropic_upstream.will(sse_answer([first, *rest[:2], gate, *rest[2:]]))
    response = gateway.begun()
    route = "" if gateway.placement == "upstream" else ", route: openai"
    watched.said["models"] = f"new: {{model: gpt-5.4-mini{route}}}\n{watched.said['models']}"
    watched.routes()
    assert eventually(lambda: gateway.messages("new").status == 200, 30)
    assert gateway.openai_upstream.last.json()["model"] == "gpt-5.4-mini"
    gate.set()
    assert b"two" in (tail := response.read()) and b"[DONE]" in tail, "a stream that goes on keeps its route"


def test_a_cluster_is_replaced(watched: Watched) -> None:
    other = ScriptedUpstream(as_openai.answer)
    with other:
        where = watched.openai["endpoint"]["address"]["socket_address"]
        before, where["port_value"] = where["port_value"], other.port
        watched.clusters()
        assert eventually(lambda: watched.gateway.messages("gpt-5").status == 200 and bool(other.received), 30)
        where["port_value"] = before
        watched.clusters()
        watched.gateway.backends.reset()
        assert eventually(lambda: watched.gateway.messages("gpt-5").status == 200, 30)
        assert eventually(
            lambda: watched.gateway.messages("gpt-5").status == 200 and bool(watched.gateway.openai_upstream.received),
            30,
        )


def test_what_cannot_be_read_changes_nothing_and_is_counted(watched: Watched) -> None:
    assert eventually(lambda: watched.gateway.messages("gpt-5").status == 200, 30)
    kept = dict(watched.config["static_resources"]["routes"])
    watched.write("routes", [{**kept, "virtual_hosts": [{"name": "no domains"}]}])
    watched.write("clusters", [{"name": "no time", "connect_timeout": "-1s"}])
    for kind in ("http.llm.rds.llm", "cluster_manager.cds"):
        rejected = f"{re.escape(kind)}.update_rejected"
        assert eventually(lambda counter=rejected: sum(watched.gateway.envoy.stats(counter).values()) > 0, 30)  # type: ignore[misc]
    assert watched.gateway.messages("gpt-5").status == 200
    watched.routes()
    watched.clusters()


def test_a_route_that_is_wrong_fails_its_own_requests_alone(watched: Watched) -> None:
    good = watched.tell("provider: nobody")
    assert eventually(lambda: watched.gateway.messages("gpt-5").status == 500, 30)
    assert watched.gateway.chat("claude-haiku-4-5").status == 200
    watched.tell(good)
    assert eventually(lambda: watched.gateway.messages("gpt-5").status == 200, 30)
