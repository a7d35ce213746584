"""Made-up messages, sent to a broker instead of delivered as files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, Producer

from ingestion.faults import LoadError
from ingestion.feeds.kafka import load_kafka_settings

# How long a broker may take to acknowledge what it was sent, in seconds.
_SECONDS = 30


class Message(NamedTuple):
    """A message: its time is in epoch milliseconds."""

    topic: str
    key: bytes | None
    value: bytes | None
    timestamp: int


Send = Callable[[Iterable[Message]], None]


def sender() -> Send:
    """What sends messages to the broker of the settings, and returns when it has them.

    Raises:
        LoadError: No broker is set; called: it does not take a message.
    """
    settings = load_kafka_settings()
    if not settings.bootstrap_servers:
        raise LoadError("No broker is set. Set LAKEHOUSE_KAFKA_BOOTSTRAP_SERVERS=host:port.")
    limits = {"message.timeout.ms": _SECONDS * 1000, "linger.ms": 5, "log_level": 0}
    # Or what a slow broker has taken, but not acknowledged in time, is sent once more.
    once = {"enable.idempotence": True}
    producer = Producer(settings.of_client() | limits | once)
    refused: list[tuple[str, str]] = []

    def note(error: KafkaError | None, message: Any) -> None:
        if error:
            refused.append((message.topic(), error.str()))

    def send(messages: Iterable[Message]) -> None:
        produce(producer, (message._asdict() | {"on_delivery": note} for message in messages))
        producer.flush()
        if refused:
            topics = ", ".join(sorted({topic for topic, _ in refused}))
            raise LoadError(
                f"Kafka at {settings.bootstrap_servers} has not taken {len(refused)} messages "
                f"for {topics}: {refused[0][1]}. "
                "Start it, and create the topics where they are missing."
            )

    return send


def produce(producer: Producer, messages: Iterable[Mapping[str, Any]]) -> None:
    """Hands a producer messages, arguments of `Producer.produce`, as fast as it sends them."""
    for message in messages:
        while True:
            try:
                producer.produce(**message)
                break
            except BufferError:
                producer.poll(0.1)
