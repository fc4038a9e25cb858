"""Records to Kafka: by librdkafka's own mock of brokers here, by a real one in tests/real."""

from __future__ import annotations

import pytest

from extproc.telemetry import kafka
from extproc.telemetry.kafka import Topic
from extproc.telemetry.outcome import Began, Ending, Outcome
from extproc.telemetry.sinks import Full, QueuedSink

from ..support.ports import free_port

MOCK = {"test.mock.num.brokers": "1"}
OUTCOME = Outcome("translator", Ending.COMPLETE, summary=True)
BATCH = [(Began("translator", float(n), f"id-{n}"), OUTCOME) for n in range(3)]


def test_a_batch_is_there_when_it_returns() -> None:
    Topic("mock:1", "test2", "key1", 1, MOCK).write(BATCH)


def test_brokers_that_are_not_there_lose_what_they_got(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "DELIVERY_SECONDS", 0.3)
    topic = Topic(f"127.0.0.1:{free_port()}", "test2", "", 10, {})
    with pytest.raises(Full) as raised:
        topic.write(BATCH)
    assert raised.value.lost == 3


def test_a_record_larger_than_brokers_take_is_lost_alone() -> None:
    topic = Topic("mock:1", "test2", "", 10, {**MOCK, "message.max.bytes": "2000"})
    large = (Began("translator", 1.0, "x" * 3000), OUTCOME)
    with pytest.raises(Full, match="size") as raised:
        topic.write([BATCH[0], large, BATCH[1]])
    assert raised.value.lost == 1


def test_its_own_queue_is_waited_for() -> None:
    topic = Topic("mock:1", "test2", "", 10, {**MOCK, "queue.buffering.max.messages": "1"})
    topic.write(BATCH)


def test_its_own_queue_stays_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "DELIVERY_SECONDS", 0.2)
    topic = Topic(f"127.0.0.1:{free_port()}", "test2", "", 10, {"queue.buffering.max.messages": "1"})
    with pytest.raises(Full) as raised:
        topic.write(BATCH)
    assert raised.value.lost == 3


@pytest.mark.parametrize("option", [("sasl.pasword", "hidden-from-all"), ("security.protocol", "hidden-from-all")])
def test_a_wrong_property_is_named_and_its_value_is_not(option: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=option[0]) as raised:
        Topic("mock:1", "test2", "", 10, dict([option]))
    assert option[0] == "security.protocol" or "hidden" not in str(raised.value)


def test_a_sink_of_it_counts() -> None:
    sink = QueuedSink("kafka", Topic("mock:1", "test2", "key1", 1, MOCK).write)
    for entry in BATCH:
        sink.ended(*entry)
    sink.close()
    assert sink.dropped == 0
