"""What Envoy's rate limit filter is told of tokens, whichever filter of ours translates: the router's one stream, or
one in the cluster, once for each attempt."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.processes import Envoy
from extproc.reference import config as envoy_config
from tests.support import placements
from tests.support.gateway import Backends, Gateway, configured
from tests.support.rate_limits import Hit, RateLimits
from tests.support.upstream import eventually

EXAMPLE = Path(__file__).parents[2] / "examples" / "token-limits" / "envoy.yaml"
TEAM = {"authorization": "Bearer key-of-team-a"}
COSTS = "metadata: {costs: {llm_tokens: {input: 1, output: 1}}}"
FAILED = as_openai.failure(503, "not now", "server_error")


def limited_by(config: dict[str, Any], port: int, word: str = "model_named") -> dict[str, Any]:
    """*config* with the filters and limits of examples/token-limits around ours, those of a model by *word*."""
    example = envoy_config.load(EXAMPLE)
    made = envoy_config.saying(config, COSTS)
    service = placements.clusters(example)["ratelimit"]
    (endpoint,) = service["load_assignment"]["endpoints"][0]["lb_endpoints"]
    endpoint["endpoint"]["address"]["socket_address"]["port_value"] = port
    made["static_resources"]["clusters"].append(service)
    text = json.dumps(placements.manager(example)).replace("model_sent", word)
    theirs = json.loads(text)
    before, after = theirs["http_filters"][:2], theirs["http_filters"][3:-1]
    assert [item["name"] for item in after] == ["envoy.filters.http.ratelimit"]
    manager = placements.manager(made)
    manager["http_filters"] = [*before, manager["http_filters"][0], *after, manager["http_filters"][-1]]
    (host,) = manager["route_config"]["virtual_hosts"]
    host["typed_per_filter_config"] = theirs["route_config"]["virtual_hosts"][0]["typed_per_filter_config"]
    ours = [manager["http_filters"][2]]
    for cluster in placements.clusters(made).values():
        ours += placements.http_options(cluster).get("http_filters", [])[:1]
    for item in ours:
        item["typed_config"]["metadata_options"]["receiving_namespaces"]["untyped"].append("io.envoy.ai_gateway")
    return made


@pytest.fixture(scope="module")
def limits() -> Iterator[RateLimits]:
    made = RateLimits()
    yield made
    made.close()


@pytest.fixture(scope="module", params=["one-stream", "upstream"])
def _limited(request: pytest.FixtureRequest, shared: Backends, limits: RateLimits) -> Iterator[Gateway]:
    folder = shared.new_folder("limited")
    config = limited_by(configured(shared, request.param, folder / "access.log"), limits.port)
    with Envoy(folder, config) as envoy:
        yield Gateway(request.param, envoy, shared, folder / "access.log")


@pytest.fixture
def limited(_limited: Gateway, limits: RateLimits) -> Gateway:
    _limited.backends.reset()
    limits.reset()
    return _limited


def ask(gateway: Gateway, path: str, model: str, **members: Any) -> Any:
    body = {"model": model, "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}], **members}
    return gateway.send(path, body, TEAM)


def taken(limits: RateLimits, model: str) -> int:
    """The tokens that one exchange was said to have taken, of which it had asked for none before."""
    assert eventually(lambda: len(limits.asked) == 2, 10), limits.asked
    (before, *_), (after, *_) = limits.asked
    whose = {"client": "team-a", "model": model}
    assert before == Hit(whose, 0) and after.whose == whose
    return after.hits or 0


def of(told: dict[str, Any]) -> int:
    """The tokens that a whole answer tells its client of."""
    return sum(count for name, count in told["usage"].items() if name in COUNTED)


COUNTED = {"prompt_tokens", "completion_tokens", "input_tokens", "output_tokens"}
PATHS = ["/v1/chat/completions", "/v1/messages"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("model", ["gpt-5", "claude-haiku-4-5", "fast"])
def test_an_answer_takes_what_its_client_is_told(limited: Gateway, limits: RateLimits, path: str, model: str) -> None:
    reply = ask(limited, path, model)
    assert reply.status == 200 and taken(limits, model) == of(reply.json) > 0


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("model", ["gpt-5", "claude-haiku-4-5", "best"])
def test_so_does_a_stream(limited: Gateway, limits: RateLimits, path: str, model: str) -> None:
    asking = {"stream_options": {"include_usage": True}} if path == PATHS[0] else {}
    reply = ask(limited, path, model, stream=True, **asking)
    # Those of the end, where it was begun with others.
    told = {name: int(count) for name, count in re.findall(r'"(\w+_tokens)":(\d+)', reply.body.decode())}
    assert taken(limits, model) == of({"usage": told}) > 0


@pytest.mark.parametrize("path", PATHS)
def test_one_that_was_tried_twice_takes_its_tokens_once(limited: Gateway, limits: RateLimits, path: str) -> None:
    limited.openai_upstream.will(FAILED)
    reply = ask(limited, path, "gpt-5")
    assert reply.status == 200 and len(limited.openai_upstream.received) == 2
    assert taken(limits, "gpt-5") == of(reply.json)


@pytest.mark.parametrize("path", PATHS)
def test_after_a_failover_it_takes_what_the_provider_that_answered_counted(
    limited: Gateway, limits: RateLimits, path: str
) -> None:
    limited.openai_upstream.will(FAILED)
    reply = ask(limited, path, "best")
    assert reply.status == 200 and len(limited.anthropic_upstream.received) == 1
    assert taken(limits, "best") == of(reply.json)


@pytest.mark.parametrize("path", PATHS)
def test_who_is_over_the_limit_of_a_model_reaches_no_provider(limited: Gateway, limits: RateLimits, path: str) -> None:
    limits.refuses = lambda hit: hit.whose.get("model") == "gpt-5" and hit.hits == 0
    reply = ask(limited, path, "gpt-5")
    assert (reply.status, reply.json["error"]["type"]) == (429, "rate_limit_error")
    assert (reply.json.get("type") == "error") is (path == "/v1/messages")
    assert limited.openai_upstream.received == limited.anthropic_upstream.received == []


def test_what_failed_takes_nothing(limited: Gateway, limits: RateLimits) -> None:
    limited.anthropic_upstream.will(*[as_anthropic.failure(529, "Overloaded", "overloaded_error")] * 2)
    assert ask(limited, "/v1/chat/completions", "claude-haiku-4-5").status >= 500
    assert ask(limited, "/v1/chat/completions", "gpt-5").status == 200
    # Of the first one there is nothing to tell: its question, then the second's, then what that took.
    assert eventually(lambda: len(limits.asked) == 3, 10), limits.asked
    assert [hits[0].whose["model"] for hits in limits.asked] == ["claude-haiku-4-5", "gpt-5", "gpt-5"]


@pytest.mark.parametrize("placement", ["one-stream", "upstream"])
def test_the_model_that_is_sent_is_known_in_time_to_one_stream_alone(
    shared: Backends, limits: RateLimits, tmp_path: Path, placement: str
) -> None:
    """Elsewhere Envoy leaves out what is asked about it, and would let everybody pass: hence ``model_named`` above."""
    limits.reset()
    config = limited_by(configured(shared, placement, tmp_path / "access.log"), limits.port, "model_sent")
    with Envoy(tmp_path, config) as envoy:
        gateway = Gateway(placement, envoy, shared, tmp_path / "access.log")
        assert ask(gateway, PATHS[0], "fast").status == 200
        assert eventually(lambda: len(limits.asked) == 2, 10), limits.asked
    before, after = limits.asked
    of_model, money = Hit({"client": "team-a", "model": "gpt-5.4-mini"}, 0), Hit({"budget": "team-a"}, 0)
    assert before == ([of_model, money] if placement == "one-stream" else [money])
    assert after[0].whose == of_model.whose and after[0].hits
