"""A headless Chromium, driven by Playwright; both as ``make test-real`` finds or downloads them."""

from __future__ import annotations

import base64
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

REAL = Path(__file__).parent.parent.parent / ".cache" / "real"
DRIVER = REAL / "playwright"
CHROMIUM = REAL / "chromium"
"""Where Debian's packages are unpacked, on machines that have no Chromium installed."""
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--force-color-profile=srgb"]


def program() -> tuple[str, dict[str, str]]:
    """Chromium's program, and what its environment needs."""
    unpacked = CHROMIUM / "usr" / "lib" / "chromium" / "chromium"
    if unpacked.exists():
        # Some packages have libraries in folders of their own, such as pulseaudio.
        libraries = sorted({str(path.parent) for path in (CHROMIUM / "usr" / "lib").glob("*-linux-gnu/**/lib*.so*")})
        environ = {"LD_LIBRARY_PATH": ":".join(libraries)} if libraries else {}
        if (fonts := CHROMIUM / "etc" / "fonts").is_dir():
            environ["FONTCONFIG_PATH"] = str(fonts)
        return str(unpacked), environ
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium: make test-real downloads it where Debian's packages are")
    return found, {}


@contextmanager
def chromium() -> Iterator[Any]:
    """Playwright's ``Browser``."""
    if not (DRIVER / "playwright").is_dir():
        pytest.skip("playwright is not there: make test-real downloads it")
    if str(DRIVER) not in sys.path:
        sys.path.append(str(DRIVER))
    from playwright.sync_api import sync_playwright

    path, environ = program()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS, env={**os.environ, **environ})
        yield browser
        browser.close()


def picture(page: Any, path: Path) -> None:
    """A small picture of *page*, as WebP."""
    session = page.context.new_cdp_session(page)
    shot = session.send("Page.captureScreenshot", {"format": "webp", "quality": 80})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(base64.b64decode(shot["data"]))
