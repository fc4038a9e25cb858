from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from extproc.route import RouteError, compile_route

from .routes import BASE, ENV, OPENAI, apply, compiled, problem, whole_path


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ('{"temperature": "1e-1", "top_k": "40", "stream": "True"}',
         {"temperature": 0.1, "top_k": 40, "stream": True}),
        ('{"temperature": "1", "stop": "5", "user": "7"}', {"temperature": 1, "stop": "5", "user": "7"}),
        ('{"temperature": null, "seed": 5}', {"temperature": None, "seed": 5}),
        ("{cutoff: 2024-10-21, effort: on, time: 1:30, zero: 007}",
         {"cutoff": "2024-10-21", "effort": "on", "time": "1:30", "zero": 7}),
    ],
)  # fmt: skip
def test_option_values(text: str, options: dict[str, Any]) -> None:
    found = compiled(f"{{provider: openai, auth: none, options: {text}}}").options
    assert found == options
    assert [type(value) for value in found.values()] == [type(value) for value in options.values()]


@pytest.mark.parametrize(
    "text",
    [
        "{provider: openai, auth: {header: {Authorization: 'Bearer sk-plain'}}, oops: 1}",
        "{provider: openai, auth: {header: {Authorization: ['sk-plain']}}}",
        "{provider: openai, auth: {header: {Authorization: 'sk-plain'",
        "{provider: openai, auth: {header: {Authorization: 'sk-plain\\n\u0001'}}}",
        '{provider: openai, auth: {header: {Authorization: "sk-plain\\n"}}}',
        "{provider: openai, auth: {header: {Authorization: '${sk-plain}'}}}",
        "{provider: openai, auth: {header: {Authorization: *sk-plain}}}",
        "{provider: openai, auth: none, override: {endpoint: 'https://h/ ?key=sk-plain'}}",
        "{provider: openai, auth: {header: {Authorization: '${KEY}${TWO}'}}}",
    ],
)
def test_no_error_shows_a_secret(text: str) -> None:
    message = problem(text)
    assert "sk-" not in message and "a\nb" not in message


WORDS = [
    "provider", "auth", "options", "override", "endpoint", "request_body", "header", "query", "none", "openai", "model",
    "quirks", "token_field", "llm_options", "max_tokens", "openai-chat", "losses", "client", "prefixes", "logging",
    "provider_conf", "https://h/p?q", "${KEY}", "${file:/nope}", "${", "anthropic", "vertex-ai", "\ud800", "[key]",
]  # fmt: skip


SIGNS = [
    ": ", "{", "}", "[", "]", ", ", "\n", "  ", "- ", "'", '"', "&a ", "*a", "!!int ", "!x ", "<<", "? ", "|\n", "%",
    "---\n", "#", "1e999", ".5", "0x", "\\",
]  # fmt: skip


WORD = st.sampled_from(WORDS) | st.text(max_size=6)


ATOM = st.none() | st.booleans() | st.integers() | st.floats() | WORD | st.binary(max_size=2) | st.dates()


TREE = st.recursive(
    ATOM, lambda x: st.lists(x, max_size=3) | st.dictionaries(WORD | ATOM, x, max_size=4), max_leaves=12
)


@given(st.lists(st.dictionaries(WORD, TREE, max_size=5), max_size=3), st.booleans())
@settings(max_examples=300, deadline=None)
@example([{"override": {"endpoint": "https://[::1"}}], True)
@example([{"\n": b""}, {"\ud800": 1}], True)
@example([{"quirks": {"efforts": [{}]}}], True)
@example([{"auth": {"header": {"[key]": None}}}], True)
def test_no_mapping_raises_anything_but_a_route_error(levels: list[dict[Any, Any]], based: bool) -> None:
    try:
        route = compile_route([BASE | level if based else level for level in levels], environ=ENV)
    except RouteError as error:
        assert str(error).isprintable() and str(error).encode()
        return
    body = apply(route, {"model": "m"}, "openai_chat")
    msgspec.json.encode(body)
    whole_path(route, route.target("openai_chat").path, "/x?y=z")


@given(st.text(max_size=60) | st.lists(st.sampled_from(WORDS + SIGNS), max_size=14).map("".join))
@settings(max_examples=500, deadline=None)
@example("0b1: _")
@example("- ? \n")
def test_no_text_raises_anything_but_a_route_error(text: str) -> None:
    for levels in ([text], [OPENAI, text]):
        try:
            msgspec.json.encode(apply(compile_route(levels, environ=ENV), {}, "openai_chat"))
        except RouteError as error:
            assert str(error).isprintable() and str(error).encode()
