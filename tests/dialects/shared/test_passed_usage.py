"""The usage at the end of an answer, found without reading the rest."""

from __future__ import annotations

import pytest

from extproc.dialects.shared.passed_usage import TAIL, read_usage
from extproc.llm.events import NO_USAGE, Usage


@pytest.mark.parametrize(
    ("tail", "usage"),
    [
        (b'{"usage": {"prompt_tokens": 3, "completion_tokens": 4}}', Usage(3, 4)),
        (b'{"usage": {"total_tokens": 3}}', Usage(3)),
        (b'data: {"usage":null}\n\ndata: {"choices":[],"usage":{"prompt_tokens":1}}\n\ndata: [DONE]\n\n', Usage(1)),
        (b'{"usage": {"input_tokens": 5}, "data": [{"usage": {}}, {"text": "\\"usage\\": {\\"x\\": 1}"}]}', Usage(5)),
        (b'{"usage": {"seconds": 4, "type": "duration"}}', NO_USAGE),
        (b'{"usage": {"input_tokens": 1' + b"0" * 400 + b', "output_tokens": 2}}', Usage(None, 2)),
        (b'"usage"', NO_USAGE), (b'"usage": {', NO_USAGE), (b'"usage": 4', NO_USAGE), (b"", NO_USAGE),
    ],
)  # fmt: skip
def test_usage_at_the_end(tail: bytes, usage: Usage) -> None:
    assert read_usage(tail) == usage and read_usage(b"x" * TAIL + tail) == usage
