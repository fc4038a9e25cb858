"""What became of each member: told by looking and by trying, on every pair."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest

from extproc import Translation
from extproc.captures.again import NotAgain
from extproc.captures.members import Fate, explained, fates, with_members
from extproc.llm.losses import Action, Loss
from tests.captures.exchanges import APIS, ASKED, PLAIN, exchange
from tests.support.exchanges import CHAT, MESSAGES


def told(asked: dict[str, Any], client: str = MESSAGES, upstream: str = CHAT) -> dict[str, Fate]:
    return {fate.path or fate.became[0]: fate for fate in explained(exchange(client, upstream, asked))}


def test_what_became_of_each_member_of_a_messages_request() -> None:
    found = told(ASKED)
    assert found["model"] == Fate("model", "kept", ["model"])
    assert found["max_tokens"] == Fate("max_tokens", "rewritten", ["max_completion_tokens"])
    assert found["system[0].text"] == Fate("system[0].text", "moved", ["messages[0].content"])
    assert found["system[0].cache_control"].how == "dropped" and found["system[0].cache_control"].why
    assert found["top_k"] == Fate("top_k", "dropped")
    assert found["tool_choice.type"] == Fate("tool_choice.type", "rewritten", ["tool_choice"])
    assert found["tools[0].name"].became == ["tools[0].function.name"]
    assert found["tools[0].input_schema"].became == ["tools[0].function.parameters"]
    assert found["messages[0]"].became == ["messages[1]"]
    assert found["messages[1].content[0].input.a"].became == ["messages[2].tool_calls[0].function.arguments"]
    assert found["messages[2].content[0].tool_use_id"].became == ["messages[3].tool_call_id"]
    assert found["stream_options.include_usage"].how == "added"


def test_what_the_route_says_stands_in_the_place_of_what_the_client_said() -> None:
    route = {"options": {"model": "gpt-5.4-mini", "temperature": 0.5}}
    made = exchange(MESSAGES, CHAT, {**ASKED, "temperature": 1.0}, route=route)
    found = explained(made)
    for name in ("model", "temperature"):
        assert [fate for fate in found if name in (fate.path, *fate.became)] in (
            [Fate(name, "replaced", [name])], [Fate(name, "kept", [name])],
        ), found  # fmt: skip
    assert Fate("temperature", "replaced", ["temperature"]) in found


@pytest.mark.parametrize(("client", "upstream"), list(itertools.permutations(APIS, 2)))
def test_on_every_pair_the_question_is_found_where_it_went(client: str, upstream: str) -> None:
    for fate in explained(exchange(client, upstream, PLAIN[client])):
        assert fate.how != "unknown" and (fate.became or fate.how in ("unused", "dropped"))
    question = [f for f in explained(exchange(client, upstream, PLAIN[client])) if f.how in ("kept", "moved")]
    assert any(fate.path.startswith(("messages", "input", "contents")) for fate in question)


def test_every_loss_is_told_with_its_reason_also_one_of_a_header() -> None:
    losses = [Loss("anthropic-beta", Action.DROPPED, "not here"), Loss("a.b", Action.CLAMPED, "to 1")]

    def tried(other: dict[str, Any]) -> dict[str, Any]:
        return {"c": "x", "b": min(other["a"].get("b", 0), 1)}

    found = fates({"a": {"b": 2, "c": "x"}}, {"c": "x", "b": 1}, losses, tried)
    assert Fate("anthropic-beta", "dropped", [], "not here") in found
    assert Fate("a.b", "clamped", ["b"], "to 1") in found and Fate("a.c", "moved", ["c"]) in found


def test_what_cannot_be_tried_is_unknown_and_trials_have_a_bound() -> None:
    asked = {f"n{number}": number for number in range(10)}
    tries = 0

    def refuses(other: dict[str, Any]) -> None:
        nonlocal tries
        tries += 1

    found = fates(asked, {"x": "y"}, [], refuses, trials=5)
    assert tries == 6 and {fate.how for fate in found} == {"unknown", "added"}


def test_a_request_that_passed_is_kept_whole() -> None:
    asked = {"model": "gpt-5.4-mini", "messages": [{"role": "user", "content": "hi"}]}
    assert {fate.how for fate in told(asked, CHAT, CHAT).values()} == {"kept"}


def test_where_it_cannot_be_told_it_is_said_why() -> None:
    whole = exchange(MESSAGES, CHAT, ASKED)
    cut = json.loads(json.dumps(whole))
    cut["payloads"]["client"]["request"] = {"bytes": 99, "cut": True, "text": "{"}
    bare = {name: value for name, value in whole.items() if name not in ("payloads", "course")}
    wrong = json.loads(json.dumps(whole))
    wrong["course"]["route"] = {"provider": "nobody"}
    refused = json.loads(json.dumps(whole))
    refused["payloads"]["client"]["request"]["body"] = {"model": "m"}
    for each, why in ((cut, "cut off"), (bare, "logging"), (wrong, "its route cannot"), (refused, "no provider")):
        assert why in with_members(each)["members_unknown"]
    assert with_members(whole)["members"] == explained(whole)
    with pytest.raises(NotAgain):
        explained(cut)


def test_trying_leaves_no_route_among_those_in_use() -> None:
    from extproc.route.compile import compiled

    before = len(compiled())
    explained(exchange(MESSAGES, CHAT, ASKED))
    assert len(compiled()) == before


def test_the_library_is_asked_as_the_sidecar_is() -> None:
    sent = Translation(MESSAGES, CHAT, now=0).request(json.dumps(ASKED).encode()).body
    assert json.loads(sent) == exchange(MESSAGES, CHAT, ASKED)["payloads"]["upstream"]["request"]["body"]


def test_a_request_of_many_values_that_are_alike_takes_no_time_to_speak_of() -> None:
    many = {f"n{number}": "the same text" for number in range(4000)}
    sent = {f"m{number}": "the same text" for number in range(4000)}
    began = time.process_time()
    found = fates(many, sent, [], lambda other: None)
    assert time.process_time() - began < 5.0 and {fate.how for fate in found} == {"moved"}


def test_what_is_nested_too_deeply_is_said_to_be() -> None:
    whole = exchange(MESSAGES, CHAT, PLAIN[MESSAGES])
    deep: Any = "x"
    for _ in range(2000):
        deep = [deep]
    whole["payloads"]["client"]["request"]["body"]["metadata"] = {"deep": deep}
    assert "members_unknown" in with_members(whole)
