from __future__ import annotations

import base64
import html
import json
import urllib.parse
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.credentials.masking import MIN_SECRET, Mask, mask_of, words
from tests.properties.growth import grows_with_its_length

SECRET = "sk-Live/1+2=&<3>é~key"
SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "capitals": str.upper,
    "percent": lambda text: urllib.parse.quote(text, safe=""),
    "percent, small": lambda text: urllib.parse.quote(text, safe="").lower(),
    "percent, slashes kept": urllib.parse.quote,
    "percent twice": lambda text: urllib.parse.quote(urllib.parse.quote(text, safe=""), safe=""),
    "a form": urllib.parse.quote_plus,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON, slashes escaped": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "JSON as Go writes it": lambda text: json.dumps(text, ensure_ascii=False)[1:-1].translate(
        {ord(char): f"\\u00{ord(char):02x}" for char in "&<>"}
    ),
    "HTML": html.escape,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for addresses": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("secret", [SECRET, "sk-proj-0123456789abcdef"])
def test_a_secret_is_replaced_in_every_spelling(secret: str, spelling: str) -> None:
    spelled = SPELLINGS[spelling](secret)
    text = f"Incorrect API key provided: {spelled} (see docs)"
    masked = Mask([secret]).text(text)
    # Of base64 a last character that says two bits may stay.
    assert masked.startswith("Incorrect API key provided: ***") and masked.endswith(" (see docs)")
    assert len(masked) <= len("Incorrect API key provided: *** (see docs)") + 3
    assert Mask([secret]).data(text.encode()) == masked.encode()


@given(st.binary(max_size=9), st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=12, max_size=40))
def test_in_base64_a_secret_is_found_amid_other_text(before: bytes, secret: str) -> None:
    encoded = base64.b64encode(before + secret.encode() + b":rest").decode()
    assert "***" in Mask([secret]).text(encoded)


@pytest.mark.parametrize("text", ["", "a perfectly good answer", "sk-proj-012345", "Signature=short", "\udc80"])
def test_what_holds_none_stays_to_the_byte(text: str) -> None:
    mask = Mask(["sk-proj-0123456789abcdef", "k" * (MIN_SECRET - 1)])
    data = text.encode("utf-8", "surrogateescape")
    assert mask.text(text) == text and mask.data(data) == data
    headers = [("x", text)]
    assert mask.headers(headers) is headers


def test_what_aws_tells_of_a_wrong_signature() -> None:
    said = (
        "The request signature we calculated does not match the signature you provided.\n\nThe Canonical String for "
        "this request should have been\n'POST\n/model\nkey=\"v\"\nx-amz-security-token:tok\n\nhost\nabc'\n\n"
        "The String-to-Sign should have been\n'AWS4'"
    )
    masked = Mask([]).data(json.dumps({"message": said, "code": 1}).encode())
    told = json.loads(masked)
    assert told["code"] == 1 and told["message"].endswith("The Canonical String for this request should have been ***")
    assert Mask([]).text(f"x, Signature={'0f' * 32}, y") == "x, Signature=***, y"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("Bearer sk-1", ["sk-1"]),
        ("sk-1", ["sk-1"]),
        ("Basic dXNlcjpwYXNz", ["dXNlcjpwYXNz", "user:pass", "pass"]),
        ("Basic ???", ["???"]),
    ],
)
def test_what_of_a_header_is_the_secret(value: str, found: list[str]) -> None:
    assert words(value) == found


def test_a_mask_shows_nothing_and_is_made_once() -> None:
    assert SECRET not in repr(Mask([SECRET]))
    assert mask_of((SECRET,)) is mask_of((SECRET,))
    assert Mask([SECRET]).shows_in(f"a {SECRET}".encode()) and not Mask([SECRET]).shows_in(b"a")


def test_a_long_secret_of_a_clients_costs_its_length_and_is_not_kept() -> None:
    def hidden(n: int) -> Callable[[], object]:
        secret = "".join(f"{i:04}" for i in range(n))
        text = json.dumps({"said": f"it is {secret}, or {base64.b64encode(secret.encode()).decode()}"})

        def hide() -> None:
            masked = mask_of((secret,)).text(text)
            assert masked.startswith('{"said": "it is ***, or ***') and len(masked) < 60

        return hide

    grows_with_its_length(hidden, 2000)
    assert mask_of(("k" * 40_000,)) is not mask_of(("k" * 40_000,))
    assert mask_of(("sk-proj-0123",)) is mask_of(("sk-proj-0123",))


def test_of_very_many_secrets_all_are_replaced_and_the_first_in_every_spelling() -> None:
    secrets = [f"secret-{n:03}" for n in range(200)]
    mask = Mask(secrets)
    assert mask.text("".join(secrets)) == "***" * 200
    for number, seen in ((0, False), (199, True)):
        spelled = secrets[number].encode().hex()
        assert (spelled in mask.text(f"it is {spelled}")) is seen


@given(st.text(), st.sampled_from(["", "\u0130", "\u0130\u0130 "]))
def test_letters_that_change_their_number_move_nothing(text: str, before: str) -> None:
    assert Mask(["secret-abc"]).text(f"{before}{text} SECRET-ABC.").endswith(" ***.")
