from __future__ import annotations

import pytest

from extproc.dialects.shared.output import enforced, instruction
from extproc.dialects.shared.schemas import NotInSubset, Schema
from extproc.llm.failures import Unsupported
from extproc.llm.losses import LossReport
from extproc.llm.request import Output, Request

SCHEMA: Schema = {"type": "object", "minProperties": 1}
AT = {"output": "response_format", "output_schema": "response_format.json_schema.schema"}


def asked(strict: bool | None = None) -> Request:
    return Request(dialect="d", model="m", messages=[], output=Output("json_schema", SCHEMA, strict=strict), at=AT)


def reduced(schema: Schema) -> Schema:
    return {"type": schema["type"]}


def refused(schema: Schema) -> Schema:
    raise NotInSubset("it is too good")


@pytest.mark.parametrize("strict", [None, False, True])
def test_what_the_provider_can_enforce(strict: bool | None) -> None:
    losses = LossReport()
    assert enforced(asked(strict), SCHEMA, dict, losses) == SCHEMA and not list(losses)
    assert enforced(asked(strict), SCHEMA, reduced, losses) == {"type": "object"}
    assert [str(loss) for loss in losses] == ["response_format.json_schema.schema:rewritten"]


@pytest.mark.parametrize(
    ("able", "why"), [(True, "it is too good"), (False, "this model cannot be held to a schema")], ids=str
)
def test_what_it_cannot(able: bool, why: str) -> None:
    losses = LossReport()
    assert enforced(asked(), SCHEMA, refused, losses, able=able) is None
    assert [(str(loss), loss.detail) for loss in losses] == [("response_format:emulated", f"by an instruction: {why}")]
    with pytest.raises(Unsupported, match=f"response_format: the schema cannot be enforced: {why}"):
        enforced(asked(strict=True), SCHEMA, refused, LossReport(), able=able)


def test_a_model_that_cannot_is_not_asked() -> None:
    assert enforced(asked(), SCHEMA, lambda schema: pytest.fail("reduced"), LossReport(), able=False) is None


def test_the_form_said_to_the_model() -> None:
    free, held = instruction(Output("json_object")), instruction(Output("json_schema", SCHEMA))
    assert held.startswith(free) and held.endswith('\n{"type":"object","minProperties":1}')
