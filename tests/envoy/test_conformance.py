"""``extproc conformance`` against the sidecar behind a real Envoy: the same grades as without either."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

import pytest

from extproc.conformance import APIS, Grade, rows
from extproc.conformance.features import BY_NAME
from extproc.conformance.live import Live, ScriptedUpstream
from extproc.demo.processes import Envoy
from extproc.providers import native_to
from tests.support.gateway import Backends, configured
from tests.support.placements import add_cluster, lead

ROUTE = (
    "provider: {provider}\nupstream: {upstream}\nlosses: report\nauth: {{header: {{x-key: '${{OPENAI_API_KEY}}'}}}}\n"
)
# What reaches the upstream as other parts of a body do.
SAME_WAY = {
    "system",
    "image_urls",
    "documents",
    "history",
    "result_images",
    "sampling",
    "seed",
    "stop",
    "user",
    "json",
    "audio",
}
FEATURES = tuple(name for name in BY_NAME if name not in SAME_WAY)


@pytest.fixture(scope="module", params=["listener", "upstream"])
def gateway(request: pytest.FixtureRequest, shared: Backends) -> Iterator[tuple[str, ScriptedUpstream]]:
    """A URL behind which each upstream's API has a prefix of its own, and the upstream behind all of them."""
    folder = shared.new_folder(f"conformance-{request.param}")
    with ScriptedUpstream().start() as upstream, contextlib.ExitStack() as stack:
        config = configured(shared, request.param, folder / "access.log")
        add_cluster(config, "scripted", "openai", upstream.port)
        texts = {name: ROUTE.format(provider=native_to(name), upstream=name) for name in APIS}
        lead(config, [(f"/{name}/", "scripted", text) for name, text in texts.items()], attempts=False)
        envoy = stack.enter_context(Envoy(folder, config))
        yield f"http://127.0.0.1:{envoy.port}/{{upstream}}", upstream


@pytest.mark.parametrize("client", APIS)
def test_what_the_table_says_is_so_behind_envoy(client: str, gateway: tuple[str, ScriptedUpstream]) -> None:
    url, upstream = gateway
    told = {(row.upstream, row.feature): row.finding for row in rows(clients=[client], features=FEATURES)}
    live = rows(partial(Live, url, upstream=upstream), clients=[client], features=FEATURES)
    found = {(row.upstream, row.feature): row.finding for row in live}
    assert found.keys() == told.keys()
    for key, finding in found.items():
        if finding.grade is told[key].grade:
            continue
        # What is lost of an answer is known at its end, too late for its head: it stands in the access log alone.
        assert all(loss.startswith("response.") for loss in told[key].detail.split(", ")), (key, finding)
        unsaid = {Grade.MAPPED: {Grade.EXACT}, Grade.LOST: {Grade.SILENT, Grade.ABSENT}}
        assert finding.grade in unsaid[told[key].grade], (key, finding)
