"""Records in a real Kafka: what a consumer sees of exchanges that went through a real Envoy."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from extproc.demo.processes import Envoy, Sidecar
from extproc.demo.provider import json_answer
from extproc.server.records import sinks_of
from extproc.settings import Settings
from extproc.telemetry import kafka
from extproc.telemetry.outcome import Began, Ending, Outcome
from tests.chaos.rows import kafka_row
from tests.support import gateway as support
from tests.support import placements
from tests.support.gateway import CLIENT_KEY, KEYS, Gateway
from tests.support.upstream import eventually

from .kafka_broker import PASSWORD, Broker, broker, missing

ROUTE = "options: {model: gpt-4}\nlogging: {summaries: true, payloads: true}\n"
"""The route of APISIX's example "Send Request Log to Logger", whose kafka-logger has topic test2, key key1, batches of
one."""
ASKED = [{"role": "system", "content": "You are a mathematician"}, {"role": "user", "content": "What is 1+1?"}]
ANSWER: dict[str, Any] = {
    "id": "x", "object": "chat.completion", "created": 1, "model": "gpt-4-0613",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "1+1 equals 2.", "refusal": None},
                 "logprobs": None, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 23, "completion_tokens": 8, "total_tokens": 31},
}  # fmt: skip


@pytest.fixture(scope="module")
def real_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if why := missing():
        pytest.skip(why)
    with broker(tmp_path_factory.mktemp("kafka")) as made:
        yield made


def read(made: Broker, topic: str, count: int) -> list[tuple[bytes | None, Any]]:
    """The first *count* messages of *topic*: keys and values."""
    from confluent_kafka import Consumer

    settings = {"bootstrap.servers": made.address, "group.id": f"of-{topic}", "auto.offset.reset": "earliest"}
    consumer, found = Consumer(settings), []
    consumer.subscribe([topic])

    def look() -> bool:
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            found.append((message.key(), msgspec.json.decode(message.value() or b"")))
        return len(found) >= count

    try:
        assert eventually(look, 60), found
    finally:
        consumer.close()
    return found


@pytest.mark.rows("E8", "D32")
def test_a_consumer_sees_the_example(real_broker: Broker, backends: support.Backends) -> None:
    with ExitStack() as stack:
        folder = backends.new_folder("kafka")
        flags = [
            f"--records-{name}={value}"
            for name, value in (
                ("kafka", real_broker.address),
                ("kafka-topic", "test2"),
                ("kafka-key", "key1"),
                ("batch", "1"),
            )
        ]
        sidecar = stack.enter_context(Sidecar(folder, environ=KEYS, arguments=flags))
        own = replace(backends, sidecar=sidecar)
        config = support.configured(own, "upstream", folder / "access.log")
        placements.add_route(config, "gpt-4", "openai", ROUTE)
        gateway = Gateway("upstream", stack.enter_context(Envoy(folder, config)), own, folder / "access.log")
        backends.openai.will(json_answer(ANSWER))
        body = {"model": "gpt-4", "messages": ASKED}
        reply = gateway.send("/v1/chat/completions", body, {"authorization": f"Bearer {CLIENT_KEY}"})
        assert reply.json == ANSWER
        ((key, made),) = read(real_broker, "test2", 1)
    assert key == b"key1"
    assert made["llm_request"] == {"messages": ASKED, "stream": False}
    assert made["llm_response_text"] == {"content": "1+1 equals 2."}
    summary = made["llm_summary"]
    assert (summary["model"], summary["request_model"]) == ("gpt-4", "gpt-4")
    assert (summary["prompt_tokens"], summary["completion_tokens"], summary["total_tokens"]) == (23, 8, 31)
    assert 0 < summary["duration"] <= summary["upstream_response_time"] + 1


def test_brokers_that_go_and_come_back(real_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "DELIVERY_SECONDS", 3.0)
    _, (sink,) = sinks_of(Settings(records_kafka=real_broker.address, records_kafka_topic="away"))
    logged = Outcome("translator", Ending.COMPLETE, summary=True)
    sink.ended(Began("translator", 1.0, "before"), logged)
    assert eventually(lambda: sink.waiting == 0, 30)
    read(real_broker, "away", 1)
    real_broker.stop()
    sink.ended(Began("translator", 2.0, "while-away"), logged)
    assert eventually(lambda: sink.dropped == 1, 30)
    real_broker.start()

    def again() -> bool:
        dropped = sink.dropped
        sink.ended(Began("translator", 3.0, "after"), logged)
        eventually(lambda: sink.waiting == 0, 10)
        return sink.dropped == dropped

    assert eventually(again, 60)
    sink.close()


def test_under_load_each_record_is_in_the_topic_or_counted_as_lost() -> None:
    # A socket's path is short.
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        told, why = asyncio.run(kafka_row(Path(folder) / "k", 1.0))
    if told is None:
        pytest.skip(why)
    assert told.is_good, told
    assert told.logged > 0 and told.dropped > 0


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_a_password_and_tls(real_broker: Broker, protocol: str) -> None:
    options = f"security.protocol={protocol},sasl.mechanism=PLAIN,sasl.username=extproc,sasl.password=${{PASSWORD}}"
    port = real_broker.sasl_port
    if protocol == "SASL_SSL":
        port, options = real_broker.tls_port, f"{options},ssl.ca.location={real_broker.authority}"
    topic = f"signed-{protocol}"
    settings = Settings(records_kafka=f"127.0.0.1:{port}", records_kafka_topic=topic, records_kafka_options=options)
    _, (sink,) = sinks_of(settings, {"PASSWORD": PASSWORD})
    sink.ended(Began("translator", 1.0, "id-1"), Outcome("translator", Ending.COMPLETE, summary=True))
    sink.close(15)
    assert sink.dropped == 0
    ((key, made),) = read(real_broker, topic, 1)
    assert key is None and made["request_id"] == "id-1"
