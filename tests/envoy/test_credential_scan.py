"""Every byte that every upstream received, searched for keys that are not its own: under retries, failover, mirroring,
and many clients at once."""

from __future__ import annotations

import itertools
import json
import random
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.processes import Envoy, Sidecar
from extproc.demo.provider import Received, Respond, ScriptedAnswer
from extproc.reference import config as envoy_config
from tests.support.gateway import PLACEMENTS, Backends, Gateway, Reply
from tests.support.placements import (
    add_cluster,
    add_model,
    add_route,
    clusters,
    http_options,
    on_listener,
    route,
    two_streams,
)
from tests.support.tapped import TappedUpstream
from tests.support.token_endpoint import TokenEndpoint
from tests.support.upstream import chat, chat_stream, eventually, whole_lines
from tests.test_names import CARRY, QUERY

KEYS = {
    "OPENAI_API_KEY": "secret-openai-1f3a", "ANTHROPIC_API_KEY": "secret-anthropic-77b0",
    "DEEPSEEK_API_KEY": "secret-deepseek-c41d", "MIRROR_API_KEY": "secret-mirror-90ee",
    "QUERY_API_KEY": "secret-query-2c9d", "FILE_API_KEY": "secret-file-55aa", "GOOGLE_API_KEY": "secret-google-6b1e",
    "BASIC_API_KEY": "dXNlcjpzZWNyZXQtYmFzaWMtMDdmZg",
}  # fmt: skip
"""By the upstream that is to get it."""
SIGNS = "secret-that-signs-31d8"
"""Nobody is to get it: requests are signed with it."""
KINDS = {
    "query": "provider: openai\nauth: {query: {key: '${QUERY_API_KEY}'}}\n",
    "basic": "provider: openai\nauth: {header: {Authorization: 'Basic ${BASIC_API_KEY}'}}\n",
    "file": "provider: openai\nauth: {header: {x-api-key: '${file:%s/file-key}'}}\n",
    "signed": "provider: bedrock\nupstream: openai_chat\nprovider_conf: {region: eu-west-1}\nauth: {aws: {}}\n",
    "google": "provider: vertex-ai\nupstream: openai_chat\nprovider_conf: {project_id: p, region: r}\n"
    "auth: {gcp: {}}\n",
}
"""Ways to give a credential, each with a model and an upstream of its name. The reference has bearers and x-api-key."""
CLIENT = {
    "bearer": "secret-of-client-aa", "x-api-key": "secret-of-client-bb", "api-key": "secret-of-client-cc",
    "cookie": "secret-of-client-dd", "proxy-authorization": "secret-of-client-ee",
    "x-goog-api-key": "secret-of-client-ff",
    "x_auth_token": "secret-of-client-gg", "x-forwarded-access-token": "secret-of-client-hh",
    "X-Amz-Security-Token": "secret-of-client-ii", "dpop": "secret-of-client-jj", "x-my-jwt": "secret-of-client-kk",
}  # fmt: skip
CLIENT |= {name: f"secret-of-client-{n:03}" for n, name in enumerate(CARRY, 100) if name not in CLIENT}
NAMES_OF_KEYS = (*QUERY, "key", "KEY", "api%5Fkey", "%6bey", "access_token", "x;key", "sig")
"""Of a query's parameters."""
NEVER_UPSTREAM = (
    *CLIENT.values(), SIGNS, "private key", "x-extproc", "openai-organization", "openai-project", "x-stainless",
    "org-of-client",
    "x-envoy-", "x-forwarded-",
)  # fmt: skip
DEEPSEEK = """
provider: deepseek
options: {model: deepseek-chat}
auth: {header: {Authorization: "Bearer ${DEEPSEEK_API_KEY}"}}
"""
MIRROR = DEEPSEEK.replace("DEEPSEEK_API_KEY", "MIRROR_API_KEY")
CLIENTS, EACH = 6, 48
HI: Any = [{"role": "user", "content": "hi"}]


@dataclass(frozen=True)
class World:
    envoy: Envoy
    sidecar: Sidecar
    upstreams: dict[str, TappedUpstream]
    access_log: Path

    def leaks(self) -> list[str]:
        """What stands where it must not: "key at upstream"."""
        found = []
        for name, upstream in self.upstreams.items():
            raw = bytes(upstream.raw).lower()
            foreign = [key for variable, key in KEYS.items() if not variable.lower().startswith(name)]
            found += [f"{word} at {name}" for word in (*foreign, *NEVER_UPSTREAM) if word.lower().encode() in raw]
        return found

    def attempts(self, route: str) -> list[int]:
        """How many each exchange by *route* took."""
        # Else Envoy would write every ten seconds.
        self.envoy.admin("POST", "/reopen_logs")
        lines = map(json.loads, whole_lines(self.access_log))
        return [line["attempts"] for line in lines if line["route"] == route]

    def everything_else(self) -> dict[str, bytes]:
        """What the sidecar and Envoy tell of themselves."""
        shown = {}

        def ask(path: str) -> bytes:
            with urllib.request.urlopen(f"http://{self.sidecar.admin}/{path}") as page:
                answer: bytes = page.read()
            return answer

        for path in ("metrics", "exchanges", "config"):
            shown[f"the admin port's /{path}"] = ask(path)
        ended = [each for each in json.loads(shown["the admin port's /exchanges"])["exchanges"] if each["has_payloads"]]
        assert ended
        # What was asked at the end was asked by each of the clients.
        one = "the admin port's /exchanges/ID"
        shown[one] = b"\n".join(ask(f"exchanges/{each['id']}") for each in ended[-40:])
        return {
            "the sidecar's log": self.sidecar.log.read_bytes(),
            "Envoy's log": self.envoy.log.read_bytes(),
            "the access log": self.access_log.read_bytes(),
            "the records": self.access_log.with_name("records").read_bytes(),
            **shown,
        }


def unsteady(usual: Respond, seed: int) -> Respond:
    """*usual*, but for every third answer or so, which fails in some way."""
    chance = random.Random(seed)

    def respond(request: Received) -> ScriptedAnswer:
        turn = chance.random()
        if turn < 0.25:
            return as_openai.failure(chance.choice([429, 500, 503, 529]), "not now", "server_error")
        if turn < 0.33:
            return ScriptedAnswer((b"{",), ending="reset")
        return usual(request)

    return respond


def repeating(usual: Respond, seed: int) -> Respond:
    """*usual*, but half of the answers say what the request was: in an error, a header, a redirect, a good answer."""
    chance = random.Random(seed)

    def respond(request: Received) -> ScriptedAnswer:
        said = f"{request.path} {request.headers}"
        turn = chance.random()
        if turn < 0.15:
            return as_openai.failure(401, f"not with {said}")
        if turn < 0.25:
            headers = (("content-type", "application/json"), ("x-echo", said[:2000]), ("location", request.path))
            return ScriptedAnswer((b"{}",), chance.choice([200, 307, 400]), headers)
        if turn < 0.35:
            return chat(said)
        if turn < 0.5:
            return chat_stream(*({"content": said[at : at + 11]} for at in range(0, len(said), 11)))
        return usual(request)

    return respond


def config(
    world_folder: Path, sidecar: str, ports: dict[str, int], *, filtered_mirror: bool, placement: str
) -> dict[str, Any]:
    upstreams = {f"api.{name}.com": ("127.0.0.1", ports[name]) for name in ("openai", "anthropic")}
    reference = envoy_config.reference()
    made = envoy_config.rewrite(
        two_streams(reference) if placement == "upstream" else reference,
        sidecar=sidecar, upstreams=upstreams, access_log=str(world_folder / "access.log"),
    )  # fmt: skip
    if placement == "listener":
        # Without a router there is one provider for each route.
        reference = two_streams(reference)
    if placement == "upstream":
        mirror = add_cluster(made, "mirror", "openai", ports["mirror"], MIRROR)
        if not filtered_mirror:
            http_options(mirror).pop("http_filters")
        mirrored = add_route(made, "gpt-mirrored", "openai")
        mirrored["route"]["request_mirror_policies"] = [{"cluster": "mirror"}]
    third = add_cluster(made, "three", "any_provider", ports["deepseek"], DEEPSEEK)
    first, second = clusters(made)["any_provider"]["load_assignment"]["endpoints"]
    last = {**third["load_assignment"]["endpoints"][0], "priority": 2}
    third["load_assignment"]["endpoints"] = [*envoy_config.copy_all([first, second]), last]
    for option in ("outlier_detection", "common_lb_config"):
        third.pop(option)
    three = add_route(made, "three", "any_provider", cluster="three")
    three["route"]["retry_policy"]["num_retries"] = 2
    route(made, "openai")["route"]["retry_policy"]["num_retries"] = 2
    if placement == "listener":
        made = on_listener(made)
    for name, text in KINDS.items():
        add_model(made, name, ports[name], text % world_folder if "%s" in text else text)
    log_bodies(made)
    return made


def log_bodies(config: Any) -> None:
    """Have every route's exchanges logged with their bodies."""
    if isinstance(config, dict):
        says = config.get("filter_metadata", {}).get("extproc", {})
        if "route" in says:
            says["route"] += "\nlogging: {summaries: true, payloads: true}\n"
        for name in says.get("routes", {}):
            says["routes"][name] += "\nlogging: {summaries: true, payloads: true}\n"
    for each in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        log_bodies(each)


@contextmanager
def running(folder: Path, *, filtered_mirror: bool = True, placement: str = "upstream") -> Iterator[World]:
    with ExitStack() as stack:
        made = {
            "openai": TappedUpstream(unsteady(as_openai.answer, 1)),
            "anthropic": TappedUpstream(unsteady(as_anthropic.answer, 2)),
            "deepseek": TappedUpstream(as_openai.answer),
            "mirror": TappedUpstream(unsteady(as_openai.answer, 3)),
        }
        made |= {name: TappedUpstream(repeating(as_openai.answer, 4)) for name in KINDS}
        for upstream in made.values():
            stack.enter_context(upstream)
        tokens = TokenEndpoint()
        stack.callback(tokens.close)
        token = {"access_token": KEYS["GOOGLE_API_KEY"], "expires_in": 3600, "token_type": "Bearer"}
        tokens.answer = json.dumps(token).encode()
        (folder / "file-key").write_text(KEYS["FILE_API_KEY"])
        environ = {
            **KEYS, "AWS_ACCESS_KEY_ID": "AKIDSCAN", "AWS_SECRET_ACCESS_KEY": SIGNS,
            "GCP_SERVICE_ACCOUNT": tokens.key(),
        }  # fmt: skip
        arguments = ("--log-level", "debug", "--admin", "127.0.0.1:0", "--records", str(folder / "records"))
        sidecar = stack.enter_context(Sidecar(folder, environ=environ, arguments=arguments))
        assert sidecar.socket is not None
        ports = {name: upstream.port for name, upstream in made.items()}
        envoy = stack.enter_context(
            Envoy(folder, config(folder, sidecar.socket, ports, filtered_mirror=filtered_mirror, placement=placement))
        )
        yield World(envoy, sidecar, made, folder / "access.log")


def requests(seed: int) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    """Mixed requests without end: path, body and headers."""
    chance = random.Random(seed)
    models = ["gpt-5", "gpt-mirrored", "claude-haiku-4-5", "best", "three", "fast", "nobody-serves-this", *KINDS]
    for model in itertools.chain.from_iterable(itertools.repeat(models)):
        headers = {"x-stainless-lang": "python", "openai-organization": "org-of-client", "openai-project": "p"}
        headers["x-extproc-route"] = chance.choice(["openai", "anthropic", "no_such_model"])
        for kind in chance.sample(list(CLIENT), 5):
            headers |= {"authorization": f"Bearer {CLIENT[kind]}"} if kind == "bearer" else {kind: CLIENT[kind]}
        headers["authorization"] = headers.get("authorization", f"Bearer {CLIENT['bearer']}")
        path = chance.choice(["/v1/chat/completions", "/v1/messages"])
        body = {"model": model, "max_tokens": 50, "messages": HI, "stream": chance.random() < 0.5}
        query = "&".join(f"{name}={CLIENT['api-key']}" for name in chance.sample(NAMES_OF_KEYS, 4))
        yield f"{path}?{query}", body, headers


def send(world: World, path: str, body: dict[str, Any], headers: dict[str, str]) -> Reply:
    shared = Backends(world.access_log.parent, world.sidecar, world.upstreams["openai"], world.upstreams["anthropic"])
    return Gateway("upstream", world.envoy, shared, world.access_log).send(path, body, headers)


def load(world: World) -> list[Reply]:
    """Many clients at once; all that they got."""
    replies: list[Reply] = []

    def client(seed: int) -> None:
        for path, body, headers in itertools.islice(requests(seed), EACH):
            replies.append(send(world, path, body, headers))

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(replies) == CLIENTS * EACH
    assert all(eventually(lambda u=u: u.open == 0) for u in world.upstreams.values())  # type: ignore[misc]
    return replies


@pytest.mark.rows("B10", "B26")
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_no_key_is_seen_where_it_does_not_belong(tmp_path: Path, placement: str) -> None:
    with running(tmp_path, placement=placement) as world:
        if placement != "listener":
            # Chance leads here seldom: the third provider after the first and the second.
            for name in ("openai", "anthropic"):
                world.upstreams[name].will(as_openai.failure(503, "not now", "server_error"))
            path, body, headers = next(requests(0))
            assert send(world, path, {**body, "model": "three"}, headers).status == 200
        replies = load(world)
        absent = {"upstream": set(), "one-stream": {"mirror"}, "listener": {"mirror", "deepseek"}}[placement]
        asked = {name: each for name, each in world.upstreams.items() if name not in absent}
        assert all(upstream.received for upstream in asked.values()), "each had its part"
        for name, upstream in asked.items():
            own = b"Credential=AKIDSCAN/" if name == "signed" else KEYS[f"{name.upper()}_API_KEY"].encode()
            assert own in upstream.raw, name
        assert world.leaks() == []
        # Each provider's failures were tried again, by a filter's translation of each attempt or by the same request.
        for name in ("openai", "anthropic"):
            assert eventually(lambda name=name: max(world.attempts(name), default=0) > 1), name  # type: ignore[misc]
        assert sum(reply.status == 200 for reply in replies) > len(replies) / 3
        secrets = [*KEYS.values(), *CLIENT.values(), SIGNS]
        told = b"".join(reply.body + repr(reply.headers).encode() for reply in replies)
        for where, text in {"an answer": told, **world.everything_else()}.items():
            assert not [secret for secret in secrets if secret.encode() in text], where
        assert world.envoy.alive() and world.sidecar.alive()


def test_the_scan_finds_what_a_mirror_without_the_filter_gets(tmp_path: Path) -> None:
    with running(tmp_path, filtered_mirror=False) as world:
        for path, body, headers in itertools.islice(requests(1), 12):
            send(world, path, {**body, "model": "gpt-mirrored"}, headers)
        assert eventually(lambda: bool(world.upstreams["mirror"].received))
        leaks = world.leaks()
        assert leaks and all(leak.endswith(" at mirror") for leak in leaks)
        assert any(leak.startswith("secret-of-client") for leak in leaks)
