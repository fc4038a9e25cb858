"""A capture as a file."""

from __future__ import annotations

import json

import pytest

from extproc.captures.files import NoCapture, made_of, read
from tests.captures.exchanges import ASKED, exchange
from tests.support.exchanges import CHAT, MESSAGES


def test_written_and_read() -> None:
    whole = exchange(MESSAGES, CHAT, ASKED)
    shown, readable = read(made_of([whole], "1.2.3")), read(made_of([whole], "1.2.3", readable=True))
    assert (shown.extproc, shown.redacted, readable.redacted) == ("1.2.3", True, False)
    assert readable.exchanges == [whole] and shown.exchanges != [whole]
    assert "Be brief." not in made_of([whole], "1").decode()


def test_what_the_admin_port_answers_is_one_too() -> None:
    whole = exchange(MESSAGES, CHAT, ASKED)
    assert read(json.dumps(whole).encode()).exchanges == [whole]


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"{", "no JSON"), (b"[]", "no capture"), (b'{"exchanges": 1}', "no capture"),
     (b'{"extproc": "1", "exchanges": [], "redacted": true, "format": 99}', "format 99")],
)  # fmt: skip
def test_what_is_none(data: bytes, why: str) -> None:
    with pytest.raises(NoCapture, match=why):
        read(data)
