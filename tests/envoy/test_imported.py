"""What the importers make, at work in a real Envoy."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.demo import as_openai
from extproc.demo.processes import Envoy, Sidecar, envoy_binary
from extproc.demo.provider import Received, ScriptedAnswer, json_answer
from extproc.importers import Imported, convert
from extproc.reference import config as envoy_config
from tests.importers import test_aigw as aigw
from tests.support.gateway import Backends, Gateway
from tests.support.upstream import ScriptedUpstream, eventually

CASES = Path(__file__).parents[1] / "importers" / "cases"
KEYS = {"OPENAI_API_KEY": "key-of-openai", "DEEPSEEK_API_KEY": "key-of-deepseek"}
BACKEND = {
    "kind": "Backend", "metadata": {"name": "envoy-ai-gateway-basic-openai"},
    "spec": {"endpoints": [{"ip": {"address": "10.0.0.7", "port": 8000}}]},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.name for path in CASES.iterdir()))
def test_envoy_takes_what_is_imported(name: str, tmp_path: Path) -> None:
    files = [(CASES / name).read_bytes()]
    if "local" in name:
        files.append(yaml.safe_dump(BACKEND).encode())
    file = tmp_path / "envoy.yaml"
    file.write_text(convert(name.partition("-")[0], *files).yaml, "utf-8")
    command = [str(envoy_binary()), "--mode", "validate", "-c", str(file), "--use-dynamic-base-id", "-l", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def running(
    tmp_path: Path, sidecar: Sidecar, name: str, first: ScriptedUpstream, second: ScriptedUpstream, *,
    checks: bool = True,
) -> tuple[Envoy, Backends]:  # fmt: skip
    """An Envoy with what is imported of *name*: OpenAI is *first*, DeepSeek *second*."""
    made_of = convert("apisix", (CASES / name).read_bytes(), checks=checks)
    return started(tmp_path, sidecar, made_of, first, second)


def started(
    tmp_path: Path, sidecar: Sidecar, made_of: Imported, first: ScriptedUpstream, second: ScriptedUpstream
) -> tuple[Envoy, Backends]:
    config: dict[str, Any] = envoy_config.copy_all(yaml.safe_load(made_of.yaml))
    upstreams = {"api.openai.com": ("127.0.0.1", first.port), "api.deepseek.com": ("127.0.0.1", second.port)}
    assert sidecar.socket is not None
    made = envoy_config.rewrite(config, sidecar=sidecar.socket, upstreams=upstreams)
    return Envoy(tmp_path, made), Backends(tmp_path, sidecar, first, second)


def ask(gateway: Gateway) -> int:
    return gateway.send("/anything", {"model": "m", "messages": [{"role": "user", "content": "hi"}]}).status


def test_a_retry_never_asks_the_one_that_has_failed(tmp_path: Path) -> None:
    """With weights of 8 and 2, and the heavy one always failing."""
    first = ScriptedUpstream(lambda request: json_answer({"error": {"message": "no"}}, 500))
    second = ScriptedUpstream(as_openai.answer)
    with first, second, Sidecar(tmp_path, environ=KEYS) as sidecar:
        envoy, backends = running(tmp_path, sidecar, "apisix-fallback-same-priority.json", first, second)
        with envoy:
            gateway = Gateway("upstream", envoy, backends, tmp_path)
            seen = Counter(ask(gateway) for _ in range(40))
        assert seen == {200: 40}, (seen, len(first.received), len(second.received))
        assert first.received, "the heavy one was asked"


@pytest.mark.rows("B20")
def test_a_probe_with_the_credential_keeps_its_instance_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)  # Envoy's own environment

    def answers(request: Received) -> ScriptedAnswer:
        if request.header("authorization") != f"Bearer {KEYS['OPENAI_API_KEY']}":
            return json_answer({"error": {"message": "who are you?"}}, 401)
        return as_openai.answer(request) if request.method == "POST" else json_answer({"object": "list", "data": []})

    first, second = ScriptedUpstream(answers), ScriptedUpstream(as_openai.answer)
    with first, second, Sidecar(tmp_path, environ=KEYS) as sidecar:
        envoy, backends = running(tmp_path, sidecar, "apisix-checks.json", first, second)
        with envoy:
            gateway = Gateway("upstream", envoy, backends, tmp_path)
            assert eventually(lambda: any(request.path == "/v1/models" for request in list(first.received)), 10)
            probes = [request for request in first.received if request.path == "/v1/models"]
            assert all(p.header("authorization") == f"Bearer {KEYS['OPENAI_API_KEY']}" for p in probes)
            assert eventually(lambda: ask(gateway) == 200 and first.received[-1].method == "POST", 10)
        assert not second.received, "the first one is alive"
        assert not any(request.path == "/v1/models" for request in second.received)


@pytest.mark.rows("B22")
@pytest.mark.parametrize("checks", [True, False])
def test_one_switch_turns_all_checks_off(tmp_path: Path, checks: bool) -> None:
    """The probes have no credential here, so that the first instance would be taken for dead."""

    def answers(request: Received) -> ScriptedAnswer:
        if request.method == "GET":
            return json_answer({"error": {"message": "who are you?"}}, 401)
        return as_openai.answer(request)

    first, second = ScriptedUpstream(answers), ScriptedUpstream(as_openai.answer)
    with first, second, Sidecar(tmp_path, environ=KEYS) as sidecar:
        envoy, backends = running(tmp_path, sidecar, "apisix-checks.json", first, second, checks=checks)
        with envoy:
            gateway = Gateway("upstream", envoy, backends, tmp_path)
            if checks:
                assert eventually(lambda: ask(gateway) == 200 and bool(second.received), 15), "the first one is dead"
            else:
                assert [ask(gateway) for _ in range(5)] == [200] * 5
                assert not second.received and not any(request.method == "GET" for request in first.received)


# ---- one provider, one stream

MODEL_ROUTES = [
    aigw.manifest("AIGatewayRoute", "r", rules=[
        aigw.rule("o", model="one"),
        aigw.rule({"name": "o", "priority": 0}, {"name": "d", "priority": 1}, model="several"),
    ]),
    *aigw.backend("o", "api.openai.com"),
    *aigw.backend("d", "api.deepseek.com"),
    aigw.policy("ok", "o", apiKey={"secretRef": {"name": "openai-api-key"}}),
    aigw.policy("dk", "d", apiKey={"secretRef": {"name": "deepseek-api-key"}}),
]  # fmt: skip
PATH_ROUTES = {"routes": [
    {"id": "team", "uri": "/team/*", "vars": [["post_arg.team.name", "==", "a"]],
     "plugins": {"ai-proxy": {"provider": "deepseek", "auth": {"header": {"Authorization": "Bearer sk-deepseek"}}}}},
    {"id": "fails", "uri": "/several", "plugins": {"ai-proxy-multi": {"fallback_strategy": "http_5xx", "instances": [
        {"name": n, "provider": n, "weight": 1, "priority": p, "auth": {"header": {"Authorization": f"Bearer sk-{n}"}}}
        for n, p in (("openai", 2), ("deepseek", 1))]}}},
    {"id": "plain", "uri": "/one",
     "plugins": {"ai-proxy": {"provider": "openai", "auth": {"header": {"Authorization": "Bearer sk-openai"}}}}},
]}  # fmt: skip


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Gateway]]:
    """What is imported of each source, behind one sidecar and one pair of upstreams."""
    folder = tmp_path_factory.mktemp("imported")
    made_of = {
        "aigw": convert("aigw", yaml.safe_dump_all(MODEL_ROUTES).encode()),
        "apisix": convert("apisix", yaml.safe_dump(PATH_ROUTES).encode()),
    }
    first, second = ScriptedUpstream(as_openai.answer), ScriptedUpstream(as_openai.answer)
    with first, second, Sidecar(folder, environ=KEYS) as sidecar, ExitStack() as stack:
        made = {}
        for name, one in made_of.items():
            (folder / name).mkdir()
            envoy, backends = started(folder / name, sidecar, one, first, second)
            made[name] = Gateway("imported", stack.enter_context(envoy), backends, folder / name)
        yield made


@pytest.mark.parametrize(
    ("source", "path", "members", "fails", "streams", "asked"),
    [
        ("aigw", "/v1/chat/completions", {"model": "one"}, False, 1, ["openai"]),
        ("aigw", "/v1/messages", {"model": "one", "max_tokens": 9}, False, 1, ["openai"]),
        ("aigw", "/v1/chat/completions", {"model": "several"}, False, 2, ["openai"]),
        ("aigw", "/v1/chat/completions", {"model": "several"}, True, 3, ["openai", "deepseek"]),
        ("apisix", "/team/x", {"model": "m", "team": {"name": "a"}}, False, 1, ["deepseek"]),
        ("apisix", "/one", {"model": "m"}, False, 1, ["openai"]),
        ("apisix", "/several", {"model": "m"}, True, 3, ["openai", "deepseek"]),
    ],
)
def test_one_provider_is_one_stream(
    imported: dict[str, Gateway], source: str, path: str, members: dict[str, Any], fails: bool, streams: int,
    asked: list[str],
) -> None:  # fmt: skip
    gateway = imported[source]
    gateway.backends.reset()
    name = "cluster.extproc.upstream_rq_total"
    before = gateway.envoy.stats(name)[name]
    if fails:
        gateway.openai_upstream.will(as_openai.failure(503, "not now", "server_error"))
    reply = gateway.send(path, {"messages": [{"role": "user", "content": "hi"}], **members})
    assert reply.status == 200, reply.body
    kind = ("type", "message") if path == "/v1/messages" else ("object", "chat.completion")
    assert reply.json[kind[0]] == kind[1]
    assert gateway.envoy.stats(name)[name] - before == streams
    found = [(r.header("host"), r.header("authorization")) for r in [*gateway.openai_upstream.received,
                                                              *gateway.anthropic_upstream.received]]  # fmt: skip
    assert found == [(f"api.{name}.com", f"Bearer key-of-{name}") for name in asked]


def test_what_no_route_is_for_gets_no_key(imported: dict[str, Gateway]) -> None:
    """However it names a route."""
    for source, path in (("aigw", "/v1/chat/completions"), ("apisix", "/elsewhere")):
        gateway = imported[source]
        gateway.backends.reset()
        for forged in ({}, {"x-extproc-route": "r"}, {"x-extproc-model": "several"}):
            body = {"model": "nobody", "messages": [{"role": "user", "content": "hi"}]}
            reply = gateway.send(path, body, forged)
            assert reply.status == 404, reply.body
        assert not gateway.openai_upstream.received and not gateway.anthropic_upstream.received


def test_the_models_of_the_list_are_told(imported: dict[str, Gateway]) -> None:
    listed = imported["aigw"].send("/v1/models", method="GET").json["data"]
    assert [item["id"] for item in listed] == ["one", "several"]
