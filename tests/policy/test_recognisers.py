from __future__ import annotations

from collections.abc import Callable

import pytest

from extproc.policy.recognisers import NAMES, known
from tests.properties.growth import grows_with_its_length

from .members import given

KEY = "sk-" + "ant-api03-" + "x" * 24

FOUND: dict[str, list[tuple[str, list[str]]]] = {
    "email": [
        ("joe.o'neil+x@mail.example.co.uk.", ["joe.o'neil+x@mail.example.co.uk"]),
        ("联系joe@example.com吧, a@b, @ann", ["joe@example.com"]),
    ],
    "phone": [
        ("+49 (30) 1234-567, +1 415 555 2671.", ["+49 (30) 1234-567", "+1 415 555 2671"]),
        ("(415) 555-2671 415.555.2671 13812345678", ["(415) 555-2671", "415.555.2671", "13812345678"]),
        ("in 2024-01-02, 1234567, 10 000 000, +12", []),
    ],
    "card": [
        ("4111 1111 1111 1111 123 12/26, 5500-0000-0000-0004", ["4111 1111 1111 1111", "5500-0000-0000-0004"]),
        ("378282246310005 4111111111111112 1234567890123", ["378282246310005"]),
        ("id 123 4111 1111 1111 1111", ["4111 1111 1111 1111"]),
    ],
    "iban": [
        ("DE89 3704 0044 0532 0130 00 please, gb82west12345698765432",
         ["DE89 3704 0044 0532 0130 00", "gb82west12345698765432"]),
        ("DE89 3704 0044 0532 0130 01, XX82WEST12345698765432", []),
    ],
    "ip": [
        ("10.1.2.3 and 2001:db8::8a2e:370:7334, fe80::1ff:fe23",
         ["10.1.2.3", "2001:db8::8a2e:370:7334", "fe80::1ff:fe23"]),
        ("1:2:3:4:5:6:7:8", ["1:2:3:4:5:6:7:8"]),
        ("at fe80::1ff:fe23: 2001:db8::, ::ffff:10.1.2.3", ["fe80::1ff:fe23", "2001:db8::", "::ffff:10.1.2.3"]),
        ("[2001:db8::1]:80 10.1.2.3:80, a0:::0f:9", ["2001:db8::1", "10.1.2.3", "::0f:9"]),
        ("127.0.0.1, ::1, 12:30:45, std::dead, 300.1.1.1, a::b", []),
    ],
    "key": [
        (f"key={KEY}.", [KEY]),
        ("AKIA" + "Q" * 16 + " gh" + "p_" + "a" * 36, ["AKIA" + "Q" * 16, "gh" + "p_" + "a" * 36]),
        ("-----BEGIN RSA PRIVATE" + " KEY-----\nMII=\n-----END RSA PRIVATE KEY-----!",
         ["-----BEGIN RSA PRIVATE" + " KEY-----\nMII=\n-----END RSA PRIVATE KEY-----"]),
        ("sk-short, task-force-of-the-whole-world", []),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text", "found"), [(n, *case) for n, cases in FOUND.items() for case in cases])
def test_recognisers(name: str, text: str, found: list[str]) -> None:
    data = text.encode()
    assert [data[a:b].decode() for a, b in known(given({}), "x", name).spans(data)] == found


BEGUN = [
    "1",
    "4111 ",
    "a@",
    ":a",
    "a:",
    "::",
    "a::",
    "::1,",
    "DE89",
    "+1 ",
    "1.",
    "sk-",
    "eyJ",
    "a.",
    "-----BEGIN PRIVATE KEY-----",
    "00 ",
]
WHOLE = [thing + " " for cases in FOUND.values() for _, found in cases for thing in found]


@pytest.mark.parametrize("unit", [*BEGUN, *WHOLE])
def test_no_text_takes_long(unit: str) -> None:
    """Neither one that only begins like what is looked for, nor a list of nothing else."""
    recognisers = [known(given({}), "x", name) for name in NAMES]

    def make(length: int) -> Callable[[], object]:
        data = (unit * length).encode()[:length]
        return lambda: [sum(1 for _ in recogniser.spans(data)) for recogniser in recognisers]

    grows_with_its_length(make, 20_000)


def test_a_list_of_cards_has_each_of_them() -> None:
    cards = ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005"]
    text = "12 " + " ".join(cards * 3)
    spans = list(known(given({}), "x", "card").spans(text.encode()))
    assert [text[start:end] for start, end in spans] == cards * 3
