"""The cache marks of a request, made such as the API takes them: a mark too much would refuse a request over money."""

from __future__ import annotations

from typing import Any, Final

from ...llm.losses import Action, LossReport

MARK: Final = "cache_control"
MAX_MARKS: Final = 4
"""In one request, the one at its top included (API reference, "Prompt caching", November 2026)."""
SHORT, LONG = "5m", "1h"

Marked = tuple[list[Any], int]
"""A list of blocks or tools, and which of them bears a mark."""


def settle_marks(members: dict[str, Any], losses: LossReport, path: str) -> None:
    """Leaves four marks at most: the last of the tools, of the system, and the last ones of the messages, which grow at
    their end; only times that the API knows; and no longer one behind a shorter one. *path* is how the client calls a
    mark. What goes costs money and nothing else."""
    places = [_marked(members.get("tools")), _marked(members.get("system")), _in_messages(members["messages"])]
    found = [each for place in places for each in place]
    at_top = type(members.get(MARK)) is dict
    if not found and not at_top:
        return
    kept = _kept(places, MAX_MARKS - at_top)
    shortest = LONG
    for blocks, index in found:
        block = blocks[index]
        if (id(blocks), index) in kept:
            mark, shortest = _timed(block[MARK], shortest, losses, path)
            if mark != block[MARK]:
                blocks[index] = {**block, MARK: mark}
        else:
            losses.dropped(path, f"a request may have {MAX_MARKS}", cost_only=True)
            blocks[index] = {name: value for name, value in block.items() if name != MARK}
    if at_top:
        members[MARK], _ = _timed(members[MARK], shortest, losses, path)


def _marked(blocks: Any) -> list[Marked]:
    if type(blocks) is not list:
        return []
    return [(blocks, i) for i, block in enumerate(blocks) if type(block.get(MARK)) is dict]


def _in_messages(messages: list[dict[str, Any]]) -> list[Marked]:
    return [each for message in messages for each in _marked(message["content"])]


def _kept(places: list[list[Marked]], most: int) -> set[tuple[int, int]]:
    tools, system, messages = places
    # What begins a request is the same in the next one; then the latest is worth most.
    wanted = [*tools[-1:], *system[-1:], *reversed(messages), *reversed(system[:-1]), *reversed(tools[:-1])]
    return {(id(blocks), index) for blocks, index in wanted[:most]}


def _timed(mark: dict[str, Any], shortest: str, losses: LossReport, path: str) -> tuple[dict[str, Any], str]:
    """*mark* with a time that may stand behind one of *shortest*, and the shortest there is then."""
    ttl = mark.get("ttl")
    if ttl is not None and ttl not in (SHORT, LONG):
        losses.add(path, Action.DOWNGRADED, f"to {SHORT}: {ttl!r} is not known", cost_only=True)
        mark = {name: value for name, value in mark.items() if name != "ttl"}
    elif ttl == LONG and shortest == SHORT:
        losses.add(path, Action.DOWNGRADED, f"to {SHORT}, which stands before it", cost_only=True)
        mark = {name: value for name, value in mark.items() if name != "ttl"}
    return mark, LONG if mark.get("ttl") == LONG else SHORT
