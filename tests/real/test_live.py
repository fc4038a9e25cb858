"""The live view in a real browser: what a stranger sees there, and what nobody can do to it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from extproc.telemetry.outcome import Began, Ending, Outcome
from extproc.telemetry.ring import Ring
from tests.captures.exchanges import ASKED, kept_of
from tests.commands.admin_port import Shown, admin_port
from tests.real.browser import chromium, picture
from tests.support.exchanges import CHAT, MESSAGES
from tests.support.upstream import eventually

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / ("docs" if os.environ.get("EXTPROC_PICTURES") else "build/live")
"""Where the pictures of the documentation go: into it where that is asked for."""
ROWS = "#body tr[data-id]"
HOSTILE = '<img src=x onerror="window.wrong=1"><script>window.wrong=1</script>'
DONE = Outcome(
    "translator", Ending.COMPLETE, client=CHAT, upstream=MESSAGES, provider="anthropic", status=200,
    model_asked="claude-haiku-4-5", model_sent="claude-haiku-4-5",
)  # fmt: skip
LOSSY = replace(DONE, losses=("seed:dropped",), model_asked="gpt-5.4-mini", provider="openai")
FAILED = replace(DONE, ending=Ending.FAILED, status=503, error="overloaded", route="second")


def began(number: int) -> Began:
    return Began("translator", 1_800_000_000.0 + number, f"id-{number}", "POST", "/v1/chat/completions", CHAT)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    with closing(browser.new_page(viewport={"width": 1360, "height": 760})) as made:
        wrong: list[str] = []
        made.on("pageerror", lambda error: wrong.append(str(error)))
        made.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        made.on("dialog", lambda dialog: wrong.append(dialog.message))
        yield made
        assert not [each for each in wrong if "401" not in each and "TrustedHTML" not in each]


@pytest.fixture
def shown() -> Iterator[tuple[str, Shown]]:
    with admin_port(Ring(20_000, 10**8, process=7)) as found:
        yield found


def test_a_stranger_finds_what_was_sent_what_it_cost_and_what_was_lost(page: Any, tmp_path: Path) -> None:
    log = tmp_path / "demo"
    with log.open("w") as out:
        demo = subprocess.Popen([sys.executable, "-m", "extproc", "demo"], cwd=ROOT, stdout=out, stderr=out)
    try:
        assert eventually(lambda: "Ctrl-C ends everything." in log.read_text(), 90), log.read_text()
        (address,) = re.findall(r"^live view     (\S+) ", log.read_text())
        page.goto(address)
        page.wait_for_selector(ROWS)
        # The failover's router is not among them: it stands beside those who translated.
        assert eventually(lambda: page.locator(ROWS).count() == 8, 15)
        page.emulate_media(color_scheme="light")
        picture(page, PICTURES / "live-list.webp")
        page.locator(ROWS, has_text="anthropic_messages → openai_chat").last.click()
        page.wait_for_selector("#one dl")
        one = page.get_by_role("region", name="gpt-5")
        cards = [one.locator(".cards > div", has=page.get_by_role("heading", name=name)).inner_text()
                 for name in ("sent upstream", "cost", "lost")]  # fmt: skip
        sent_there, cost, lost = (re.sub(r"\s+", " ", text) for text in cards)
        assert re.fullmatch(
            r"sent upstream gpt-5 to openai, by openai_chat \d+ bytes, made of the client's \d+", sent_there
        )
        assert re.match(r"cost \$0\.000\d+ tokens: \d+ input, \d+ output", cost)
        assert lost.startswith("lost 3 losses") and "top_k dropped: this provider or model does not take it" in lost
        assert "cache_control dropped: this API caches by itself" in lost
        assert re.search(r"cost\s+\$0\.0\d+", page.locator("#sums").inner_text())
        table = page.get_by_role("table", name="What became of each member of the request")
        sent = table.get_by_role("row").filter(has_text="max_completion_tokens")
        assert "max_tokens" in sent.inner_text() and "1024" in sent.inner_text()
        assert "dropped" in table.get_by_role("row").filter(has_text="top_k").inner_text()
        kept = table.get_by_role("row").filter(has_text="as it was")
        assert kept.count() > 0
        page.get_by_label("only what changed").check()
        assert eventually(lambda: kept.count() == 0, 15) and sent.is_visible()
        page.get_by_label("only what changed").uncheck()
        page.get_by_role("button", name="Close (Esc)").scroll_into_view_if_needed()
        picture(page, PICTURES / "live-one.webp")
        page.keyboard.press("Escape")
        page.emulate_media(color_scheme="dark")
        page.locator(ROWS, has_text="openai_chat → anthropic_messages").nth(1).click()
        stream = page.get_by_role("table", name="The stream, event by event, of both sides")
        stream.wait_for()
        assert stream.get_by_role("row").count() > 10 and re.search(r"\d+ ms", stream.inner_text())
        assert "message_start" in stream.inner_text() and "chat.completion.chunk" in stream.inner_text()
        assert page.locator(".lane").count() == 2 and page.locator(".lane i").count() > 5
        page.get_by_role("heading", name="The stream").evaluate("node => node.scrollIntoView()")
        picture(page, PICTURES / "live-stream.webp")
        page.keyboard.press("Escape")
        page.locator(ROWS, has_text="best").first.click()
        page.get_by_role("button", name=re.compile(r"^1: openai, 5\d\d failed")).click()
        page.locator("#one .pill.bad", has_text="failed").first.wait_for()
        assert page.get_by_role("button", name=re.compile(r"^2: anthropic, 200 complete")).is_visible()
        assert all(path.stat().st_size < 150_000 for path in PICTURES.glob("live-*.webp"))
    finally:
        demo.terminate()
        demo.wait(30)


def test_exchanges_come_as_they_happen_and_are_found(page: Any, shown: tuple[str, Shown]) -> None:
    address, port = shown
    page.goto(f"http://{address}/")
    page.get_by_text("nothing here yet").wait_for()
    open_one = began(1)
    port.ring.started(open_one)
    page.locator(ROWS, has_text="open").wait_for()
    for number, outcome in enumerate((DONE, LOSSY, FAILED, replace(DONE, attempt=2)), 1):
        port.ring.ended(open_one if number == 1 else began(number), outcome)
    page.get_by_text("4 exchanges, 0 open").wait_for()
    sums = " ".join(page.locator("#sums").inner_text().split())
    assert sums == "listed 4 errors 1 with losses 1 tokens in 0 out 0 cost $0.0000"
    page.get_by_role("status").filter(has_text="more exchanges").wait_for(timeout=15_000)
    for label, chosen in (
        ("model", "gpt-5.4-mini"), ("route", "second"), ("how it went", "an error"),
        ("how it went", "a loss"), ("how it went", "a retry"),
    ):  # fmt: skip
        page.get_by_label(label).select_option(label=chosen)
        assert eventually(lambda: page.locator(ROWS).count() == 1, 15), (label, chosen)
        page.get_by_label(label).select_option("")
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("/")
    page.keyboard.type("overloaded second")
    assert eventually(lambda: page.locator(ROWS).count() == 1, 15)
    assert "503 failed" in page.locator(ROWS).inner_text()


def test_by_the_keyboard_alone(page: Any, shown: tuple[str, Shown]) -> None:
    address, port = shown
    for number in range(100):
        port.ring.ended(began(number), DONE)
    page.goto(f"http://{address}/")
    page.get_by_text("100 exchanges").wait_for()
    assert page.get_by_role("grid", name="Exchanges, the newest first").get_attribute("aria-rowcount") == "101"
    assert page.get_by_role("columnheader").count() == 13
    while page.evaluate("document.activeElement.dataset.id") is None:
        page.keyboard.press("Tab")
    focused = "document.activeElement.getAttribute('aria-rowindex')"
    assert page.evaluate(focused) == "2"
    for key, at in (("ArrowDown", "3"), ("End", "101"), ("ArrowDown", "101"), ("Home", "2"), ("ArrowDown", "3")):
        page.keyboard.press(key)
        assert page.evaluate(focused) == at, key
    page.keyboard.press("Enter")
    page.get_by_text("What was said is not kept").wait_for()
    assert page.locator("[aria-selected=true]").get_attribute("aria-rowindex") == "3"
    assert page.evaluate("document.activeElement.id") == "one"
    page.keyboard.press("Escape")
    assert page.evaluate(focused) == "3" and not page.locator("#one").is_visible()
    page.keyboard.press("Enter")
    for key, at in (("j", "4"), ("j", "5"), ("k", "4")):
        page.keyboard.press(key)
        page.locator(f"[aria-selected=true][aria-rowindex='{at}']").wait_for()
        page.get_by_text("What was said is not kept").wait_for()
    page.keyboard.press("Escape")
    assert page.evaluate(focused) == "4"


def test_ten_thousand_are_kept_a_few_are_drawn_and_no_more_are_kept(page: Any, shown: tuple[str, Shown]) -> None:
    address, port = shown
    for number in range(5000):
        port.ring.ended(began(number), DONE)
    page.goto(f"http://{address}/")
    page.get_by_text("5,000 exchanges").wait_for()
    for number in range(5000, 10_050):
        port.ring.ended(began(number), DONE)
    page.get_by_text("10,000 exchanges").wait_for()
    took = page.evaluate(
        """async () => {
             const rows = document.querySelector("#rows"), seen = [];
             for (let step = 0; step < 60; step++) {
               rows.scrollTop = step * rows.scrollHeight / 60;
               const began = performance.now();
               render();
               seen.push(performance.now() - began);
               await new Promise(requestAnimationFrame);
             }
             return seen.sort((a, b) => a - b)[30];
           }"""
    )
    assert took < 50, f"half of the steps of scrolling took longer than {took} ms to draw"
    sifted = page.evaluate(
        """() => [...Array(15)].map(() => {
             const began = performance.now();
             sift();
             return performance.now() - began;
           }).sort((a, b) => a - b)[7]"""
    )
    assert sifted < 50, f"to look through all of them took {sifted} ms"
    assert page.locator(ROWS).count() < 100
    page.evaluate("document.querySelector('#rows').scrollTop = 1e9")
    page.locator(f"{ROWS}[aria-rowindex='10001']").wait_for()
    read = "document.elementFromPoint(300, 400).closest('tr').dataset.id"
    page.evaluate("document.querySelector('#rows').scrollTop = HEIGHT * 5000")
    page.locator(f"{ROWS}[aria-rowindex='5010']").wait_for()
    before = page.evaluate(read)
    port.ring.ended(began(99_999), LOSSY)
    page.locator("#model option", has_text="gpt-5.4-mini").wait_for(state="attached")
    page.locator(f"{ROWS}[aria-rowindex='5011']").wait_for()
    assert eventually(lambda: page.evaluate(read) == before, 10), "who reads is not pushed away"


def test_nothing_that_a_stranger_says_becomes_html(page: Any, shown: tuple[str, Shown]) -> None:
    address, port = shown
    asked = {**ASKED, "stream": False, HOSTILE: HOSTILE, "messages": [{"role": "user", "content": HOSTILE}]}
    kept, losses = kept_of(
        MESSAGES, CHAT, asked, [b"data: " + HOSTILE.encode() + b"\n\ndata: x\n\n"], "text/event-stream"
    )
    said = dict.fromkeys(("client", "upstream", "provider", "route", "model_asked", "model_sent", "error"), HOSTILE)
    outcome = replace(FAILED, payloads=kept, **{**said, "losses": (*losses, HOSTILE)})
    port.ring.ended(Began("translator", 1.0, HOSTILE, "POST", f"/{HOSTILE}", CHAT), outcome)
    page.goto(f"http://{address}/")
    page.locator(ROWS).first.click()
    page.get_by_role("heading", name="The request").wait_for()
    assert HOSTILE in page.locator("#one").inner_text()
    assert page.evaluate("[window.wrong, document.images.length, document.scripts.length]") == [None, 0, 1]
    refused = page.evaluate("() => { try { document.body.innerHTML = '<b>'; } catch (error) { return error.name; } }")
    assert refused == "TypeError"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_are_both_readable(page: Any, shown: tuple[str, Shown], scheme: str) -> None:
    address, port = shown
    for number, outcome in enumerate((DONE, LOSSY, FAILED)):
        port.ring.ended(began(number), outcome)
    page.emulate_media(color_scheme=scheme)
    page.goto(f"http://{address}/")
    page.wait_for_selector(ROWS)
    page.locator(ROWS).last.click()
    page.get_by_text("What was said is not kept").wait_for()
    for selector in (
        "td.good .pill", "td.bad .pill", "td.warn:not(:empty)", "th", "td:first-child", "label", "#state", "#sums dt",
        "#sums dd.bad", "#sums dd.warn", "#one dt", "#one .cards h3", "#one .cards p", "#one strong", "footer span",
        "kbd", "[aria-selected=true] td:first-child",
    ):  # fmt: skip
        colours = page.locator(selector).first.evaluate(
            """node => {
                 const of = (each, name) => getComputedStyle(each)[name];
                 let behind = node;
                 while (of(behind, "backgroundColor") === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
                 return [of(node, "color"), of(behind, "backgroundColor")];
               }"""
        )
        assert contrast(*colours) >= 4.5, (selector, colours)


def contrast(one: str, other: str) -> float:
    """As WCAG 2 has it; 4.5 is what text needs."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_it_asks_for_the_token_and_keeps_it_to_itself(page: Any) -> None:
    ring = Ring(10, 10, process=7)
    ring.ended(began(1), DONE)
    with admin_port(ring, token="right") as (address, _):
        page.goto(f"http://{address}/")
        page.get_by_label("admin token").fill("right")
        page.get_by_role("button", name="Show").click()
        page.wait_for_selector(ROWS)
        assert not page.get_by_label("admin token").is_visible()
        assert "right" not in page.url and page.evaluate("localStorage.length + sessionStorage.length") == 0
