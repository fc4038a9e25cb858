"""Batches of records to an HTTP endpoint."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from extproc.telemetry import posts
from extproc.telemetry.outcome import Began, Ending, Outcome
from extproc.telemetry.posts import NotTaken, Poster

from ..support.ports import free_port
from ..support.side_service import SideService

BATCH = [(Began("translator", float(n), f"id-{n}"), Outcome("translator", Ending.COMPLETE)) for n in range(3)]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[SideService]:
    monkeypatch.setattr(posts, "FIRST_WAIT_SECONDS", 0.01)
    made = SideService()
    yield made
    made.close()


@pytest.mark.rows("D32")
def test_one_array_for_a_batch_on_one_connection(service: SideService) -> None:
    poster = Poster(f"{service.url}/in?key=a", lambda: {"authorization": "Bearer x"})
    poster.write(BATCH)
    poster.write(BATCH[:1])
    first, second = service.asked
    assert (first.method, first.path, first.headers["authorization"]) == ("POST", "/in?key=a", "Bearer x")
    assert [entry["request_id"] for entry in msgspec.json.decode(first.body)] == ["id-0", "id-1", "id-2"]
    assert len(msgspec.json.decode(second.body)) == 1 and first.connection == second.connection


def test_what_is_not_taken_is_sent_again_and_lost_then(service: SideService) -> None:
    service.status = 503
    with pytest.raises(NotTaken, match="answered 503"):
        Poster(service.url, dict).write(BATCH)
    assert len(service.asked) == posts.TRIES
    assert len({asked.body for asked in service.asked}) == 1


def test_what_is_refused_is_not_sent_again(service: SideService) -> None:
    service.status = 401
    with pytest.raises(NotTaken, match="answered 401"):
        Poster(service.url, dict).write(BATCH)
    assert len(service.asked) == 1


def test_nobody_there_and_then_somebody(monkeypatch: pytest.MonkeyPatch, service: SideService) -> None:
    poster = Poster(f"http://127.0.0.1:{free_port()}", dict)
    with pytest.raises(NotTaken, match="ConnectionRefused"):
        poster.write(BATCH)
    poster._host = service.url.removeprefix("http://")
    poster.write(BATCH)
    assert len(service.asked) == 1


def test_an_answer_without_end(service: SideService) -> None:
    service.body = b"x" * (posts.MAX_ANSWER_BYTES + 1)
    poster = Poster(service.url, dict)
    poster.write(BATCH)
    poster.write(BATCH)
    assert len({asked.connection for asked in service.asked}) == 2


def test_certificates_are_verified(service: SideService) -> None:
    with pytest.raises(NotTaken, match="SSL"):
        Poster(service.url.replace("http:", "https:"), dict).write(BATCH)
