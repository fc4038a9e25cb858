from __future__ import annotations

from typing import Any

import pytest

from extproc.check import check
from extproc.gateway.envoy import Destination, Made, Wanted, endpoint_parts, leftovers, seconds, written
from tests.importers.files import KEY, apisix, case, config_of, hosts_of
from tests.support import placements


def test_a_domain_stands_in_one_virtual_host() -> None:
    hosts = hosts_of(config_of(case("apisix-hosts.json")))
    found = {domain: [route["name"] for route in host["routes"]] for host in hosts for domain in host["domains"]}
    assert found == {"a.test": ["one", "two", "no_such_model"], "b.test": ["one", "no_such_model"]}


def test_a_route_for_any_host_serves_those_that_are_named_too() -> None:
    plugins = {"ai-proxy": {"provider": "openai", "auth": KEY}}
    listed = [
        {"id": "all", "uri": "/x", "plugins": plugins},
        {"id": "own", "uri": "/y", "host": "h", "plugins": plugins},
    ]
    hosts = hosts_of(config_of(apisix({"routes": listed})))
    assert [(host["domains"], [route["name"] for route in host["routes"]][:-1]) for host in hosts] == [
        (["h"], ["own", "all"]), (["*"], ["all"])
    ]  # fmt: skip


def test_names_are_told_apart() -> None:
    plugins = {"ai-proxy": {"provider": "openai", "auth": KEY}}
    listed = [{"id": str(n), "name": "chat", "uri": f"/{n}", "plugins": plugins} for n in range(3)]
    config = config_of(apisix({"routes": listed}))
    assert [route["name"] for route in placements.routes(config)][:-1] == ["chat", "chat_2", "chat_3"]
    assert len(placements.clusters(config)) == 4


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("Authorization", "Bearer sk-live-1", "Bearer ${OPENAI_API_KEY}"),
        ("x-api-key", "sk-live-1", "${OPENAI_API_KEY}"),
        ("Authorization", "Bearer ${MINE}", "Bearer ${MINE}"),
        ("Authorization", "Bearer $ENV://MINE", "Bearer ${MINE}"),
        ("api-key", "$secret://vault/1/key", "${OPENAI_API_KEY}"),
        ("x-team", "blue", "blue"),
    ],
)
def test_no_secret_is_written(name: str, value: str, sent: str) -> None:
    made = Made()
    assert made.secret("auth.header", name, value, "openai") == sent
    assert not any("sk-live" in note for note in made.notes)
    assert bool(made.notes) == ("OPENAI_API_KEY" in sent)


def test_each_secret_has_a_name_of_its_own_and_the_same_one_again() -> None:
    made = Made()
    names = [made.secret("p", "x-api-key", value, "openai") for value in ("one", "two", "one")]
    assert names[0] == names[2] != names[1]


def test_what_is_said_is_said_once() -> None:
    made = Made()
    for _ in range(2):
        made.note("a", "is left out")
    leftovers({"b": 1}, made, "x.")
    assert made.notes == ["a: is left out", "x.b: has no equivalent here, and is left out"]


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://h.example/v1", ("h.example", 443, True)),
        ("http://h.example", ("h.example", 80, False)),
        ("http://10.0.0.1:8000/x", ("10.0.0.1", 8000, False)),
    ],
)
def test_the_parts_of_an_endpoint(url: str, parts: Any) -> None:
    assert endpoint_parts(url) == parts


@pytest.mark.parametrize(("milliseconds", "text"), [(30000, "30s"), (500, "0.5s"), (1.5, "0.0015s")])
def test_durations(milliseconds: float, text: str) -> None:
    assert seconds(milliseconds) == text


def model(name: str) -> dict[str, Any]:
    return {"prefix": "/", "headers": [{"name": "x-extproc-model", "string_match": {"exact": name}}]}


A, B = {"provider": "openai", "auth": "none"}, {"provider": "deepseek", "auth": "none"}
ANY_MODEL = {"prefix": "/", "headers": [{"name": "x-extproc-model", "string_match": {"safe_regex": {"regex": "m.*"}}}]}


@pytest.mark.parametrize(
    ("routes", "placements_of"),
    [
        ([(model("m"), [A])], ["named"]),
        ([(model("m"), [A, A])], ["named"]),
        ([(model("m"), [A, B])], ["upstream"]),
        ([({"path": "/x"}, [A])], ["matched"]),
        ([({"path": "/x"}, [A, B])], ["upstream"]),
        ([(model("m"), [A]), (model("n"), [B])], ["named", "named"]),
        ([(model("m"), [A, B]), (model("m"), [A])], ["upstream", "upstream"]),
        ([(model("m") | {"prefix": "/x"}, [A])], ["upstream"]),
        ([(model("*"), [A])], ["upstream"]),
        ([(ANY_MODEL, [A]), (model("m"), [A])], ["upstream", "upstream"]),
        ([(model("m"), [A]), (ANY_MODEL, [A])], ["named", "upstream"]),
        ([({"path": "/x"}, [A]), (model("m"), [A])], ["matched", "upstream"]),
        ([(model("m"), [A]), ({"path": "/x"}, [A])], ["named", "upstream"]),
    ],
)
def test_a_route_stands_where_it_costs_least(
    routes: list[tuple[dict[str, Any], list[dict[str, Any]]]], placements_of: list[str]
) -> None:
    made = Made()
    for number, (match, levels) in enumerate(routes):
        targets = [Destination(f"10.0.0.{n}", 80, False, level) for n, level in enumerate(levels)]
        made.wanted.append(Wanted(f"r{number}", [match], targets))
    made.place()
    assert [item.placement for item in made.wanted] == placements_of
    config = made.config()
    assert ["http_filters" in placements.http_options(placements.clusters(config)[item.name]) for item in made.wanted] \
        == [item.placement == "upstream" for item in made.wanted]  # fmt: skip
    assert not [str(found) for found in check(written(config, "a test", [])) if found.severity == "error"]
