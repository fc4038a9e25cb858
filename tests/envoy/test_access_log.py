"""A real Envoy's access log by the names that APISIX's users know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.demo.processes import Envoy
from tests.support import placements
from tests.support.gateway import Backends, Gateway, configured
from tests.support.upstream import eventually

ROOT = Path(__file__).parents[2]
MODEL = "gpt-4-by-other-names"


def line_of_the_docs() -> str:
    found = re.search(r"```text\n(%REQ.*?)\n```", (ROOT / "docs" / "envoy.md").read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1].replace("\n", " ")


def format_of_the_reference() -> dict[str, Any]:
    """What ``deploy/envoy.yaml`` has in a comment, to be put in the place of its own format."""
    text = (ROOT / "deploy" / "envoy.yaml").read_text("utf-8")
    found = re.search(r"^ +# text_format_source:\n(?: +#   .*\n)+", text, re.MULTILINE)
    assert found is not None
    made: dict[str, Any] = yaml.safe_load(re.sub(r"^ +# ", "", found[0], flags=re.MULTILINE))
    return made


def test_the_reference_has_the_line_of_the_docs() -> None:
    assert format_of_the_reference() == {"text_format_source": {"inline_string": line_of_the_docs() + "\n"}}


@pytest.fixture(scope="module", params=["upstream", "one-stream"])
def named(
    request: pytest.FixtureRequest, shared: Backends, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    folder, log = tmp_path_factory.mktemp("log"), tmp_path_factory.mktemp("lines") / "access.log"
    config = configured(shared, request.param, log)
    wanted = "metadata: {variables: all}\nduration: asked\n"
    placements.add_alike(config, MODEL, wanted)
    (entry,) = [e for e in placements.manager(config)["access_log"] if "log_format" in e["typed_config"]]
    entry["typed_config"]["log_format"] = format_of_the_reference()
    with Envoy(folder, config) as envoy:
        yield Gateway(request.param, envoy, shared, log)


@pytest.mark.parametrize(("stream", "kind"), [(False, "ai_chat"), (True, "ai_stream")])
@pytest.mark.rows("E9")
def test_a_line_of_the_log(named: Gateway, stream: bool, kind: str) -> None:
    named.backends.reset()
    reply = named.messages(MODEL, stream=stream)
    assert reply.status == 200, reply.body
    numbers = r"POST 200 \d+ (?P<took>\d+) \"[^\"]+\""
    line = re.compile(rf'{numbers} "{kind}" "(?P<first>\d+)" "{MODEL}" "{MODEL}" "(?P<asked>\d+)" "(?P<told>\d+)"\n')
    found: list[re.Match[str]] = []

    def look() -> bool:
        named.envoy.admin("POST", "/reopen_logs")
        found[:] = line.finditer(named.access_log.read_text("utf-8"))
        return bool(found)

    assert eventually(look, 15), named.access_log.read_text("utf-8")
    (match,) = found
    assert int(match["asked"]) > 0 and int(match["told"]) > 0 and int(match["first"]) <= int(match["took"])


@pytest.mark.parametrize("stream", [False, True])
def test_the_head_says_what_the_sidecar_took_where_it_is_asked(named: Gateway, stream: bool) -> None:
    named.backends.reset()
    body = {"model": MODEL, "max_tokens": 9, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    reply = named.send("/v1/messages", body, {"x-extproc-duration": "1"})
    assert reply.status == 200 and 0 < float(reply.headers["x-extproc-duration"]) < 30_000
    assert "x-extproc-duration" not in dict(named.openai_upstream.last.headers)
    assert "x-extproc-duration" not in named.messages(MODEL, stream=stream).headers


def test_metrics_tell_which_route_it_took(named: Gateway) -> None:
    assert named.messages(MODEL).status == 200
    line = rf'^gen_ai_server_request_duration_seconds_count{{.*gen_ai_original_model="{MODEL}".*extproc_route="[^"]+"'
    assert eventually(lambda: re.search(line, named.backends.metrics(), re.MULTILINE) is not None)
