"""The live view: one page, without anything from elsewhere, that asks the admin port what happens.

What it shows comes from clients and providers. So it may run its own script alone, whose hash the policy says, and
reach nobody but the port that it came from.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

PAGE = Path(__file__).with_name("live.html").read_text("utf-8")


def _allowed(element: str) -> str:
    """The sources of what stands within *element* in the page."""
    found = re.findall(rf"<{element}>(.*?)</{element}>", PAGE, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


POLICY = (
    f"default-src 'none'; script-src {_allowed('script')}; style-src {_allowed('style')}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Its Content-Security-Policy."""
