"""Several processes shown as one."""

from __future__ import annotations

from extproc.server.shown import joined, one_config, one_look


def test_looks_are_laid_together_by_time() -> None:
    one = {
        "exchanges": [{"ended_at": 1.0}, {"ended_at": 3.0}],
        "open": [{"path": "/a"}],
        "open_count": 1,
        "cursor": "1",
    }
    two = {"exchanges": [{"ended_at": 2.0}], "left_out": 4, "cursor": "2"}
    made = one_look([one, {}, two])
    assert [each["ended_at"] for each in made["exchanges"]] == [1.0, 2.0, 3.0]
    assert (made["open"], made["open_count"], made["left_out"], made["cursor"]) == ([{"path": "/a"}], 1, 4, "1,2")


def test_cursors_of_who_did_not_answer_are_left_out() -> None:
    assert joined([{"cursor": "1:2:3"}, {}, {"cursor": ""}, {"cursor": "4:5:6"}]) == "1:2:3,4:5:6"


def test_routes_are_shown_once_and_settings_are_the_first_ones() -> None:
    made = one_config([{"settings": {"a": 1}, "routes": [1, 2]}, {}, {"settings": {"a": 2}, "routes": [2, 3]}])
    assert made == {"settings": {"a": 1}, "routes": [1, 2, 3]}
    assert one_config([{"routes": [1]}], {"b": 2}) == {"settings": {"b": 2}, "routes": [1]}
