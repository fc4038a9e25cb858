"""Which API a request speaks, and where on a host it is."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import msgspec
import pytest

import extproc
from extproc import Call, Translation, dialects
from extproc.dialects import REGISTRY, by_name, detect, unread
from extproc.dialects.base import Dialect, DialectBase
from extproc.dialects.openai_chat import OpenAIChat
from extproc.providers import PROVIDERS, Endpoint, Provider

MOUNTED = {"anthropic_messages": "/anthropic", "openai_chat": "", "bedrock_converse": "/aws"}


@pytest.mark.rows("F1")
@pytest.mark.parametrize("prefix", ["", "/anthropic", "/any/where"])
def test_without_prefixes_an_api_is_recognised_behind_any(prefix: str) -> None:
    assert detect(f"{prefix}/v1/messages?beta=true", b"") == "anthropic_messages"
    assert detect(f"{prefix}/v1/chat/completions", b"") == "openai_chat"


@pytest.mark.rows("F2")
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/anthropic/v1/messages", "anthropic_messages"),
        ("/anthropic/v1/messages/count_tokens?beta=true", "anthropic_messages"),
        ("/v1/messages", None),
        ("/anthropic/anthropic/v1/messages", None),
        ("/anthropicc/v1/messages", None),
        ("/other/anthropic/v1/messages", None),
        ("/v1/chat/completions", "openai_chat"),
        ("/chat/completions", "openai_chat"),
        ("/v1/chat/completions/", "openai_chat"),
        ("/anthropic/v1/chat/completions", None),
        ("/openai/deployments/x/chat/completions", None),
        ("/aws/model/a%2Fb/converse-stream", "bedrock_converse"),
        ("/model/a/converse", None),
        ("/aws/model/a/b/converse", None),
        ("/wherever/v1/responses", "openai_responses"),
    ],
)
def test_with_a_prefix_only_there(path: str, name: str | None) -> None:
    assert detect(path, b'{"messages":[]}', MOUNTED) == name


@pytest.mark.rows("F2")
def test_a_body_does_not_bring_back_what_a_prefix_took_away() -> None:
    body = b'{"messages":[],"model":"m"}'
    assert detect("/anything", body) == "openai_chat"
    assert detect("/anything", body, {"openai_chat": ""}) is None


STEMS = {
    "anthropic_bedrock": "/model/m",
    "anthropic_vertex": "/v1/projects/p/locations/l/publishers/anthropic/models/m",
    "bedrock_converse": "/model/m",
    "gemini": "/v1beta/models/m",
    "gemini_embeddings": "/v1beta/models/m",
    "vertex_predict": "/v1/projects/p/locations/l/publishers/google/models/m",
    "titan_embeddings": "/model/m",
    "nova_embeddings": "/model/m",
    "cohere_bedrock": "/model/m",
}


@pytest.mark.parametrize("name", REGISTRY)
def test_every_api_is_found_at_its_root(name: str) -> None:
    stem = STEMS.get(name, "")
    for end in REGISTRY[name].paths:
        found = "anthropic_bedrock" if end == "/invoke" else name  # several makers' path
        assert detect(stem + end, b"", dict.fromkeys(REGISTRY, "")) == found


# ---- the interface

METHODS = {name: value for name, value in vars(Dialect).items() if inspect.isfunction(value) and name[0] != "_"}


@pytest.mark.rows("A16", "B2")
@pytest.mark.parametrize("name", REGISTRY)
def test_every_dialect_has_the_whole_interface(name: str) -> None:
    own = REGISTRY[name]
    assert {"parse_request", "emit_request", "response_parser", "response_emitter", "emit_error"} <= set(METHODS)
    for method, declared in METHODS.items():
        implemented = inspect.signature(getattr(type(own), method))
        assert len(implemented.parameters) == len(inspect.signature(declared).parameters), method
    assert own.name == name and (own.paths or unread(name)) and type(own.converses) is bool


@pytest.mark.rows("A16")
@pytest.mark.parametrize("missing", [*METHODS, "paths", "converses"])
def test_a_missing_part_fails_at_start_up(missing: str) -> None:
    left_out = {missing, "__dict__", "__weakref__"}
    parts = {**vars(DialectBase), **vars(OpenAIChat)}
    half: Any = type("Half", (), {name: value for name, value in parts.items() if name not in left_out})
    with pytest.raises(TypeError, match="Half lacks a part of Dialect"):
        by_name([half()])
    assert list(by_name([OpenAIChat()])) == ["openai_chat"]


@pytest.mark.rows("A16")
def test_two_dialects_of_one_name_fail_at_start_up() -> None:
    with pytest.raises(TypeError, match="its name is another's"):
        by_name([OpenAIChat(), OpenAIChat()])


def folder_of(dialect: Dialect) -> str:
    """An API in another envelope lives with its family."""
    return type(dialect).__module__.split(".")[2]


@pytest.mark.rows("A24")
def test_every_dialect_on_disk_is_in_the_registry() -> None:
    folder = Path(extproc.__file__).parent / "dialects"
    assert {path.parent.name for path in folder.glob("*/__init__.py")} - {"shared"} == {
        folder_of(each) for each in REGISTRY.values()
    }


class Another(OpenAIChat):
    """An API that is not in the package: all that makes it one is a name and a place."""

    name = "another"
    paths = ("/another",)


@pytest.mark.rows("A22", "B4", "F17")
@pytest.mark.parametrize("provider", ["anthropic", "openai"])
def test_a_registered_dialect_translates_with_all_others_at_once(
    monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    monkeypatch.setitem(dialects.REGISTRY, "another", Another())
    monkeypatch.setitem(PROVIDERS, "newcomer", Provider("newcomer", {"another": Endpoint("/another")}, "none"))
    body = msgspec.json.encode({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]})
    spoken = next(iter(PROVIDERS[provider].dialects))
    for client, host, upstream in (("another", provider, spoken), (spoken, "newcomer", "another")):
        t = Translation(client, route={"provider": host, "auth": "none"}, now=0)
        call = t.request(body)
        assert msgspec.json.decode(call.body)["messages"] == [{"role": "user", "content": "hi"}]
        assert (t.client, t.upstream, t.passthrough, list(t.losses)) == (client, upstream, False, [])
        assert isinstance(call, Call)
        assert (call.path == "/another") is (upstream == "another")
