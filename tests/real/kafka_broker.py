"""A real broker of Kafka, broker and controller in one process (KRaft), by the machine's Java."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.upstream import eventually

JARS = Path(os.environ.get("EXTPROC_KAFKA_JARS", ".cache/real/kafka"))
CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl},SASL_SSL://127.0.0.1:{tls},\
CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl},SASL_SSL://127.0.0.1:{tls}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_extproc="password-of-kafka";
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_extproc="password-of-kafka";
ssl.keystore.type=PEM
ssl.keystore.location={keys}
log.dirs={logs}
num.partitions=1
auto.create.topics.enable=true
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
"""
PASSWORD = "password-of-kafka"


def missing() -> str:
    """Why there can be none; empty if there can."""
    if shutil.which("java") is None:
        return "no Java"
    if not any(JARS.glob("kafka_2.13-*.jar")):
        return "Kafka is not downloaded: make test-real does it"
    return ""


class Broker:
    """Started and stopped as often as wanted, with the same ports and the same log."""

    def __init__(self, folder: Path) -> None:
        self.port, self.sasl_port, self.tls_port = free_port(), free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._folder = folder
        self._properties = folder / "server.properties"
        authority = Authority(folder)
        certificate, key = authority.issue("broker")
        self.authority = authority.certificate
        """Who signed what it shows at its port of TLS."""
        keys = folder / "keys.pem"
        keys.write_bytes(key.read_bytes() + certificate.read_bytes())
        ports = {"port": self.port, "sasl": self.sasl_port, "tls": self.tls_port, "controller": free_port()}
        self._properties.write_text(PROPERTIES.format(**ports, logs=folder / "logs", keys=keys))
        self._child: subprocess.Popen[bytes] | None = None
        self._java("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(self._properties)).wait()

    def _java(self, *command: str) -> subprocess.Popen[bytes]:
        log = (self._folder / "kafka.log").open("ab")
        java = ["java", "-Xmx384m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{JARS.resolve()}/*"]
        with log:
            return subprocess.Popen([*java, *command], stdout=log, stderr=log)

    def start(self) -> None:
        """Return once it answers."""
        from confluent_kafka.admin import AdminClient

        self._child = self._java("kafka.Kafka", str(self._properties))
        client = AdminClient({"bootstrap.servers": self.address, "log_level": 0})

        def answers() -> bool:
            try:
                return bool(client.list_topics(timeout=1).brokers)
            except Exception:
                return False

        assert eventually(answers, 90), (self._folder / "kafka.log").read_text("utf-8", "replace")[-2000:]

    def stop(self) -> None:
        if self._child is not None:
            self._child.terminate()
            self._child.wait(60)
            self._child = None


@contextmanager
def broker(folder: Path) -> Iterator[Broker]:
    made = Broker(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
