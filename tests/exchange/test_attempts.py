from __future__ import annotations

from typing import Any

import pytest

from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest
from extproc.exchange.attempts import MEMORY, Memory, recall, remember
from extproc.exchange.incoming import Incoming, read
from extproc.exchange.mutations import NAMESPACE


def test_what_is_remembered_is_recalled() -> None:
    memory = Memory("/v1/messages?beta=true", ["x-api-key"], [("anthropic-beta", "a,b")], "gateway", "provider.example")
    message = ProcessingRequest()
    message.metadata_context.filter_metadata[NAMESPACE].update({MEMORY: remember(memory), "model": "m"})
    assert recall(read(message.SerializeToString())) == memory


@pytest.mark.parametrize("fields", [{}, {"model": "m"}, {MEMORY: ""}, {MEMORY: "{}"}, {MEMORY: 3}])
def test_nothing_to_recall(fields: dict[str, Any]) -> None:
    assert recall(Incoming()) is None
    message = ProcessingRequest()
    message.metadata_context.filter_metadata[NAMESPACE].update(fields)
    assert recall(read(message.SerializeToString())) is None
