"""A gateway that has each upstream API, behind a prefix of its own where a filter of the listener translates, by a
model's name where the router's stream does; and the conversations that are held with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from extproc.demo import as_openai
from extproc.demo.processes import Envoy
from extproc.demo.provider import Respond

from . import as_bedrock, as_claude, as_gemini, as_vertex
from .gateway import Backends, configured
from .placements import add_cluster, add_route, lead, one_streams_metadata
from .sdks import SDKS, Conversation
from .upstream import ScriptedUpstream

CLAUDE = "eu.anthropic.claude-haiku-4-5-20251001-v1:0"
IN_BEDROCK = f"/model/{CLAUDE.replace(':', '%3A')}"
IN_GOOGLE = "/v1/projects/ours/locations/us-east5/publishers/google/models"


@dataclass(frozen=True)
class Provider:
    """Who is asked for *model* in *dialect*; ``paths`` are those of a whole answer and of a stream."""

    route: str
    dialect: str
    model: str
    paths: tuple[str, str]
    answer: Respond


PLACE = "provider_conf: {project_id: ours, region: us-east5}\n"
UPSTREAMS = {
    "Chat Completions": Provider(
        "provider: openai\n", "openai_chat", "gpt-4o", ("/v1/chat/completions",) * 2, as_openai.answer
    ),
    "Responses": Provider("provider: openai\n", "openai_responses", "gpt-4o", ("/v1/responses",) * 2, as_openai.answer),
    "Messages": Provider(
        "provider: anthropic\n", "anthropic_messages", "claude-haiku-4-5", ("/v1/messages",) * 2, as_claude.answer
    ),
    "Gemini": Provider(
        "provider: gemini\n", "gemini", "gemini-3-pro",
        ("/v1beta/models/gemini-3-pro:generateContent", "/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse"),
        as_gemini.answer,
    ),
    "Gemini on Vertex AI": Provider(
        f"provider: vertex-ai\n{PLACE}", "gemini", "gemini-3-pro",
        (f"{IN_GOOGLE}/gemini-3-pro:generateContent", f"{IN_GOOGLE}/gemini-3-pro:streamGenerateContent?alt=sse"),
        as_gemini.answer,
    ),
    "Converse": Provider(
        "provider: bedrock\n", "bedrock_converse", CLAUDE,
        (f"{IN_BEDROCK}/converse", f"{IN_BEDROCK}/converse-stream"), as_bedrock.answer,
    ),
    "Claude on Bedrock": Provider(
        "provider: bedrock-anthropic\n", "anthropic_bedrock", CLAUDE,
        (f"{IN_BEDROCK}/invoke", f"{IN_BEDROCK}/invoke-with-response-stream"), as_bedrock.answer,
    ),
    "Claude on Vertex AI": Provider(
        f"provider: vertex-anthropic\n{PLACE}", "anthropic_vertex", "claude-haiku-4-5",
        (f"{as_vertex.PLACE}/claude-haiku-4-5:rawPredict", f"{as_vertex.PLACE}/claude-haiku-4-5:streamRawPredict"),
        as_vertex.answer,
    ),
}  # fmt: skip
"""By their names in the README."""


@dataclass(frozen=True)
class World:
    url: str
    asked: dict[str, ScriptedUpstream]
    by_model: bool = False

    def place(self, upstream: str) -> tuple[str, str]:
        """Where a client finds *upstream*, and what it calls the model."""
        number = list(UPSTREAMS).index(upstream)
        return (self.url, f"asked-{number}") if self.by_model else (f"{self.url}/{number}", UPSTREAMS[upstream].model)

    def conversation(self, client: str, upstream: str, *, streamed: bool, thinks: bool = False) -> Conversation:
        return SDKS[client](*self.place(upstream), streamed=streamed, thinks=thinks)

    def reset(self) -> None:
        for upstream in self.asked.values():
            upstream.reset()


KEY = "auth: {header: {Authorization: 'Bearer ${OPENAI_API_KEY}'}}\n"


@contextmanager
def world(shared: Backends, placement: str = "listener") -> Iterator[World]:
    folder = shared.new_folder("matrix")
    with ExitStack() as stack:
        config = configured(shared, placement, folder / "access.log")
        asked: dict[str, ScriptedUpstream] = {}
        placed: list[tuple[str, str, str]] = []
        for number, (name, provider) in enumerate(UPSTREAMS.items()):
            asked[name] = ScriptedUpstream(provider.answer)
            stack.enter_context(asked[name])
            cluster = f"asked-{number}"
            add_cluster(config, cluster, "openai", asked[name].port)
            placed.append((provider.model, cluster, f"{provider.route}upstream: {provider.dialect}\n{KEY}"))
        by_model = placement == "one-stream"
        if by_model:
            name_models(config, placed)
        else:
            lead(config, [(f"/{at}/", name, text) for at, (_, name, text) in enumerate(placed)], attempts=False)
        envoy = stack.enter_context(Envoy(folder, config))
        yield World(f"http://127.0.0.1:{envoy.port}", asked, by_model)


def name_models(config: dict[str, Any], placed: Iterable[tuple[str, ...]]) -> None:
    """A name for each cluster, by which clients ask for a model there, and by which its route is called."""
    said = one_streams_metadata(config)
    assert said is not None
    for model, cluster, text in placed:
        made = add_route(config, cluster, "openai", text, cluster)
        made["route"]["retry_policy"] = {"num_retries": 0}
        said["models"] = said["models"].replace(
            f"{cluster}: {{route: {cluster}}}\n", f"{cluster}: {{model: '{model}', route: {cluster}}}\n"
        )
