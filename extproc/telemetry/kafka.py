"""Records to a topic of Kafka, by the package confluent-kafka (``pip install 'extproc-llm[kafka]'``), whose library has
threads of its own: here it is only handed batches, and asked what became of them."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .record import encoded
from .sinks import Entry, Full

log = logging.getLogger(__name__)

DELIVERY_SECONDS = 10.0
"""How long a record may take to be there; then it is lost."""
OWN = frozenset({"bootstrap.servers", "batch.num.messages", "message.timeout.ms", "logger", "on_delivery", "error_cb"})
"""Properties of librdkafka's that are settings of ours, or no texts."""
NO_KAFKA = "Kafka needs the package confluent-kafka: pip install 'extproc-llm[kafka]'"


class Topic:
    """One topic. ``write`` returns when the brokers have a batch; it raises Full for what they have not.

    *options*: properties of librdkafka by their names, such as ``security.protocol``. Raises ValueError where one is
    not known, ModuleNotFoundError without the package.
    """

    def __init__(self, brokers: str, topic: str, key: str, batch: int, options: Mapping[str, str]) -> None:
        kafka: Any = importlib.import_module("confluent_kafka")
        self._topic = topic
        self._key = key.encode() or None
        self._failed = 0
        self._why = ""
        properties = {
            "bootstrap.servers": brokers,
            "batch.num.messages": batch,
            "message.timeout.ms": int(DELIVERY_SECONDS * 1000),
            "linger.ms": 5,
            "client.id": "extproc",
            **options,
        }
        try:
            self._producer = kafka.Producer(properties, logger=log)
        except kafka.KafkaException as error:
            # By its text alone, which names a property: its arguments may hold what it was given.
            raise ValueError(_said(error.args[0])) from None

    def write(self, batch: Sequence[Entry]) -> None:
        self._failed, self._why = 0, ""
        for began, outcome in batch:
            self._produce(encoded(began, outcome))
        left = self._producer.flush(DELIVERY_SECONDS + 1)
        if lost := self._failed + left:
            raise Full(f"the brokers did not take them: {self._why or 'no answer'}", lost)

    def _produce(self, value: bytes) -> None:
        try:
            self._producer.produce(self._topic, value, self._key, on_delivery=self._delivered)
        except BufferError:
            # Its own queue is full of what waits for the brokers.
            self._producer.poll(DELIVERY_SECONDS)
            try:
                self._producer.produce(self._topic, value, self._key, on_delivery=self._delivered)
            except BufferError:
                self._failed, self._why = self._failed + 1, "its queue is full"
        except Exception as error:
            # Larger than the brokers take, for one.
            self._failed, self._why = self._failed + 1, _said(error.args[0] if error.args else error)
        self._producer.poll(0)

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            self._failed, self._why = self._failed + 1, _said(error)


def _said(error: Any) -> str:
    text: Callable[[], str] | None = getattr(error, "str", None)
    return text() if text is not None else str(error)
