from __future__ import annotations

import pytest

from extproc.dialects.shared.naming import tool_name
from extproc.dialects.shared.tools import allowed, carried, check_choice, leave_out, renamed
from extproc.llm.failures import Unsupported
from extproc.llm.losses import LossReport
from extproc.llm.request import Request, Tool, ToolChoice

ANY = ToolChoice()
A, B = Tool("a", at="tools[0]"), Tool("b", at="tools[1]")


def asked(*tools: Tool, choice: ToolChoice = ANY) -> Request:
    return Request(dialect="d", model="m", messages=[], tools=list(tools), tool_choice=choice, at={"tool_choice": "tc"})


@pytest.mark.parametrize(
    ("choice", "left", "lost"),
    [
        (ToolChoice(), None, []),
        (ToolChoice("auto", ["a"]), {"a"}, ["tools:filtered"]),
        (ToolChoice("auto", ["a", "b"]), None, []),
        (ToolChoice("required", ["a", "b"]), None, []),
        (ToolChoice("required", ["a"]), None, []),  # the choice itself names the one
        (ToolChoice("tool", ["b"]), None, []),
        (ToolChoice("none", ["b"]), {"b"}, ["tools:filtered"]),
    ],
    ids=repr,
)
def test_which_tools_a_choice_leaves(choice: ToolChoice, left: set[str] | None, lost: list[str]) -> None:
    losses = LossReport()
    assert allowed(asked(A, B, choice=choice), losses) == left
    assert [str(loss) for loss in losses] == lost


def test_a_choice_of_what_is_not_there() -> None:
    request = asked(A, choice=ToolChoice("auto", ["a", "x"]))
    with pytest.raises(Unsupported, match="tc names 'x', which is not among the tools") as caught:
        check_choice(request, {"a"})
    assert (caught.value.path, caught.value.code) == ("tc", "invalid_value")
    with pytest.raises(Unsupported, match="tc names 'x'"):
        allowed(request, LossReport())
    check_choice(request, ["a", "x"])


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (asked(A), "there is no other"),
        (asked(A, B, choice=ToolChoice("tool", ["a"])), "it must be called"),
        (asked(A, B, choice=ToolChoice("required", ["b", "a"])), "it may be the one that must be called"),
    ],
)
def test_a_tool_without_which_the_request_makes_no_sense(request_: Request, why: str) -> None:
    with pytest.raises(Unsupported, match=r"the tool 'a' is not supported for this model") as caught:
        leave_out(request_, A, LossReport())
    assert caught.value.path == "tools[0]", why
    with pytest.raises(Unsupported, match=r"^music is not supported for this model"):
        leave_out(request_, A, LossReport(), "music is")


@pytest.mark.parametrize("choice", [ToolChoice(), ToolChoice("auto", ["a", "b"]), ToolChoice("tool", ["b"])], ids=repr)
def test_a_tool_that_can_be_missed(choice: ToolChoice) -> None:
    losses = LossReport()
    leave_out(asked(A, B, choice=choice), A, losses)
    leave_out(asked(A, B, choice=ToolChoice()), B, losses, "music is", "nobody hears it")
    assert [(str(loss), loss.detail) for loss in losses] == [
        ("tools[0]:dropped", "a tool that another provider runs"),
        ("tools[1]:dropped", "nobody hears it"),
    ]


def test_names_that_were_changed() -> None:
    request = asked(A, Tool("x.y"))
    assert renamed(request, ["a", "u.v"]) == {tool_name("x.y"): "x.y", tool_name("u.v"): "u.v"}
    assert renamed(request, ["b"], lambda name: f"f_{name}") == {"f_a": "a", "f_x.y": "x.y", "f_b": "b"}


def test_each_tool_by_the_writer_of_its_kind() -> None:
    native = {"type": "x"}
    tools = [Tool("f"), Tool("p", "provider", native=native, dialect="mine"), Tool("q", "provider", dialect="other")]
    losses, request = LossReport(), asked(*tools)
    writers = {"function": lambda tool: {"name": tool.name}}
    written = [carried(request, tool, "mine", losses, writers) for tool in tools]
    assert written == [{"name": "f"}, native, None] and written[1] is native
    assert [loss.action.value for loss in losses] == ["dropped"]
