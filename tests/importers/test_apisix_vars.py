"""Conditions of APISIX's routes: what Envoy asks in their place, and what is left out."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from extproc.importers import ImportFailed
from tests.support import placements

from .plugins import HEADER, imported


@pytest.mark.parametrize(
    ("condition", "headers"),
    [
        (["post_arg.model", "in", ["a.1", "b"]],
         [{"name": "x-extproc-model", "string_match": {"safe_regex": {"regex": "a\\.1|b"}}}]),
        (["OR", ["post_arg.model", "==", "a"], ["post_arg.model", "==", "b"]],
         [{"name": "x-extproc-model", "string_match": {"safe_regex": {"regex": "a|b"}}}]),
        (["AND", ["http_x_team", "==", "a"], ["http_x_kind", "~*", "^b"]],
         [{"name": "x-team", "string_match": {"exact": "a"}},
          {"name": "x-kind", "string_match": {"safe_regex": {"regex": "(?i).*(?:^b).*"}}}]),
        (["http_x_team", "~=", "a"],
         [{"name": "x-team", "string_match": {"exact": "a"}, "invert_match": True,
           "treat_missing_header_as_empty": True}]),
        (["http_x_team", "!", "in", ["a"]],
         [{"name": "x-team", "string_match": {"exact": "a"}, "invert_match": True,
           "treat_missing_header_as_empty": True}]),
        (["cookie_sid", "==", "1+"],
         [{"name": "cookie", "string_match": {"safe_regex": {"regex": r"(?:.*;)?\s*sid=(?:1\+)\s*(?:;.*)?"}}}]),
        (["http_x_n", ">", 3], [{"name": "x-n", "range_match": {"start": 4, "end": 2**63 - 1}}]),
        (["http_x_n", "!", "<=", "3"],
         [{"name": "x-n", "range_match": {"start": -(2**63), "end": 4}, "invert_match": True,
           "treat_missing_header_as_empty": True}]),
        (["arg_v", "~=", "1"],
         [{"name": ":path", "string_match": {"safe_regex": {"regex": r"[^?]*\?(?:.*&)?v=(?:1)(?:&.*)?"}},
           "invert_match": True, "treat_missing_header_as_empty": True}]),
        (["!OR", ["http_a", "~=", "1"], ["http_b", "~=", "1"]],
         [{"name": "a", "string_match": {"exact": "1"}}, {"name": "b", "string_match": {"exact": "1"}}]),
        (["request_method", "==", "POST"], [{"name": ":method", "string_match": {"exact": "POST"}}]),
    ],
)  # fmt: skip
def test_operators(condition: Any, headers: Any) -> None:
    made = imported({"provider": "openai", "auth": HEADER}, vars=[condition])
    match = placements.routes(yaml.safe_load(made.yaml))[0]["match"]
    assert match.get("headers") == headers
    assert not any(note.startswith("r: vars") for note in made.notes)


def test_any_of_several_conditions_is_a_match_each() -> None:
    either = ["OR", ["AND", ["http_a", "==", "1"], ["arg_b", "==", "2"]], ["post_arg.stream", "==", True]]
    made = imported({"provider": "openai", "auth": HEADER}, vars=either)
    first, second, _ = [route["match"] for route in placements.routes(yaml.safe_load(made.yaml))]
    assert first["headers"][0]["name"] == "a" and first["query_parameters"][0]["name"] == "b"
    assert second["dynamic_metadata"][0]["value"] == {"bool_match": True}


UNSAID = [
    ["remote_addr", "==", "1.2.3.4"], ["remote_addr", "!", "ipmatch", ["10.0.0.0/8"]], ["http_a", "~~", "^(?!b)"],
    ["http_a", "==", None], ["http_a", "starts", "b"], ["graphql_root_fields", "has", "x"], ["http_a"], "a",
    ["post_arg.messages[*].role", "has", "tool"], ["!OR", ["http_a", "==", "1"], ["remote_addr", "==", "1.2.3.4"]],
]  # fmt: skip


@pytest.mark.parametrize("condition", UNSAID)
def test_what_cannot_be_asked_never_widens_a_route(condition: Any) -> None:
    with pytest.raises(ImportFailed, match="is left out"):
        imported({"provider": "openai", "auth": HEADER}, vars=[["http_b", "==", "1"], condition])
    made = imported({"provider": "openai", "auth": HEADER}, vars=["OR", ["http_b", "==", "1"], condition])
    own, _ = placements.routes(yaml.safe_load(made.yaml))
    assert own["match"]["headers"] == [{"name": "b", "string_match": {"exact": "1"}}]
    assert any("requests that need it are left out" in note for note in made.notes)


def test_bounds_of_members_of_the_body() -> None:
    made = imported({"provider": "openai", "auth": HEADER}, vars=[["post_arg.max_tokens", ">=", 1000]])
    (match,) = placements.routes(yaml.safe_load(made.yaml))[0]["match"]["dynamic_metadata"]
    assert match["value"] == {"double_match": {"range": {"start": 1000.0, "end": 1e308}}}


def test_more_matches_than_a_route_may_have() -> None:
    either = [["OR", *([f"http_{name}", "==", "1"] for name in "abcdefghi")]] * 3
    with pytest.raises(ImportFailed, match="729 matches"):
        imported({"provider": "openai", "auth": HEADER}, vars=either)
