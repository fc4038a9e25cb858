from __future__ import annotations

import pytest

from extproc.dialects.openai_responses.names import Named, ToolNames


@pytest.mark.parametrize(
    ("name", "namespace", "flat"),
    [
        ("read", "", "read"),
        ("spawn_agent", "multi_agent_v1", "multi_agent_v1__spawn_agent"),
        ("read", "mcp__fs__", "mcp__fs__read"),
        ("_create", "mcp__calendar", "mcp__calendar_create"),
    ],
)
def test_a_namespace_becomes_a_prefix(name: str, namespace: str, flat: str) -> None:
    names = ToolNames()
    assert names.flat(name, namespace) == flat
    assert names.flat(name, namespace) == flat, "the same each time"
    assert names.named == ({flat: Named(name, namespace)} if namespace else {})


def test_two_tools_never_share_a_name() -> None:
    names = ToolNames()
    plain, nested, odd = names.flat("a__b"), names.flat("b", "a"), names.flat("_b", "a_")
    assert plain == "a__b" and nested.startswith("a__b_")
    assert len({plain, nested, odd}) == 3
    assert names.named[nested] == Named("b", "a")
    assert plain not in names.named


def test_what_stands_in_a_namespace() -> None:
    names = ToolNames()
    flat = [names.flat("x", "n"), names.flat("y", "n"), names.flat("x", "m"), names.flat("x")]
    assert names.within("n") == flat[:2]
    assert names.within("nobody") == []
