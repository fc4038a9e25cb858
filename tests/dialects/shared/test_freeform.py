from __future__ import annotations

import pytest

from extproc.dialects.shared import freeform
from extproc.llm.losses import LossReport
from extproc.llm.request import Request, Tool

GRAMMAR = {"type": "grammar", "syntax": "regex", "definition": "x+"}


@pytest.mark.parametrize(
    ("tool", "said", "lost"),
    [
        (Tool("p", "custom", "d", at="t"), "d", ["t:emulated"]),
        (Tool("p", "custom", at="t"), "", ["t:emulated"]),
        (
            Tool("p", "custom", "d", grammar=GRAMMAR, at="t"),
            'd\n\nThe input must follow this grammar:\n{"type":"grammar","syntax":"regex","definition":"x+"}',
            ["t:emulated", "t.format:downgraded"],
        ),
    ],
)
def test_what_is_said_of_a_tool(tool: Tool, said: str, lost: list[str]) -> None:
    losses = LossReport()
    assert freeform.description(tool, losses) == said
    assert [str(loss) for loss in losses] == lost


def test_an_input_within_an_object() -> None:
    assert freeform.wrapped('say "x"\n') == '{"input":"say \\"x\\"\\n"}'
    assert freeform.as_input(None) == freeform.as_input("") == {"input": ""}


def test_which_tools_are_free_form() -> None:
    tools = [Tool("f"), Tool("p", "custom"), Tool("s", "web_search")]
    assert freeform.names(Request(dialect="d", model="m", messages=[], tools=tools)) == {"p"}
