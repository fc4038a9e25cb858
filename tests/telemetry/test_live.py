"""The page of the live view: nothing from elsewhere, nothing of a stranger's as HTML."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from extproc.telemetry.live import PAGE, POLICY


def test_only_its_own_script_and_style_may_run() -> None:
    for element, directive in (("script", "script-src"), ("style", "style-src")):
        (text,) = re.findall(rf"<{element}>(.*?)</{element}>", PAGE, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in POLICY
    assert POLICY.startswith("default-src 'none'; ") and "unsafe" not in POLICY and "*" not in POLICY
    for part in ("connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"):
        assert part in POLICY


@pytest.mark.parametrize(
    "way",
    ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval(", "new Function", "srcdoc",
     "setTimeout(\"", "createContextualFragment", "javascript:"],
)  # fmt: skip
def test_no_way_leads_from_text_to_html(way: str) -> None:
    assert way not in PAGE


def test_nothing_comes_from_elsewhere_and_nothing_is_said_in_attributes() -> None:
    assert not re.search(r"https?://|//cdn|<link|<img|<iframe|@import|url\(", PAGE)
    assert not re.search(r"<[^>]+\s(on\w+|style)=", PAGE)


def test_what_reading_aloud_needs_is_there() -> None:
    for part in ('lang="en"', 'aria-live="polite"', 'role="grid"', "aria-rowcount", "aria-rowindex", 'role="search"'):
        assert part in PAGE
    for field in re.findall(r'<(?:input|select) id="(\w+)"', PAGE):
        assert re.search(rf'<label>[^<]*<(?:input|select) id="{field}"', PAGE)
    assert "prefers-color-scheme: dark" in PAGE


def test_what_it_keeps_has_a_bound() -> None:
    assert "const MOST = 10000" in PAGE and "all.length - MOST" in PAGE
