"""The form that an answer must have, where an API or a model can be held to less than was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...llm.failures import Unsupported
from ...llm.losses import Action, LossReport
from ...llm.request import Output, Request
from ..base import encode
from .schemas import NotInSubset, Schema

JSON_OBJECT: Final = "Respond with one valid JSON object and nothing else."
JSON_SCHEMA: Final = JSON_OBJECT + " It must match this JSON Schema:\n"


def instruction(output: Output) -> str:
    """The form, said to the model."""
    return JSON_OBJECT if output.schema is None else JSON_SCHEMA + encode(output.schema).decode()


def enforced(
    request: Request, schema: Schema, reduce: Callable[[Schema], Schema], losses: LossReport, *, able: bool = True
) -> Schema | None:
    """*schema* as far as the provider can enforce it, by *reduce*, which may raise NotInSubset; ``None`` where an
    instruction has to do. *able*: the model can be held to a schema at all. Raises Unsupported where the client
    insists."""
    output, path = request.output, request.path_of("output")
    try:
        if not able:
            raise NotInSubset("this model cannot be held to a schema")
        reduced = reduce(schema)
    except NotInSubset as error:
        if output is not None and output.strict:
            raise Unsupported(path, f"{path}: the schema cannot be enforced: {error}") from None
        losses.add(path, Action.EMULATED, f"by an instruction: {error}")
        return None
    if reduced != schema:
        losses.rewritten(request.path_of("output_schema"), "reduced to what the provider can enforce")
    return reduced
