"""What is printed for people: coloured on a terminal, plain elsewhere and where NO_COLOR is set."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

LABEL = 19
MAX_EVENTS = 14
"""Events of one stream that are shown; the middle of a longer one is left out."""

_COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


class Screen:
    """Writes to *out*."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._colour = out.isatty() and not os.environ.get("NO_COLOR")
        self._width = max(60, min(shutil.get_terminal_size((110, 24)).columns, 140))

    def line(self, text: str = "", style: str = "") -> None:
        print(self._styled(text, style), file=self._out, flush=True)

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if style and self._colour else text

    def title(self, text: str) -> None:
        self.line()
        self.line(text, "bold")

    def labelled(self, label: str, text: str, style: str = "") -> None:
        """*text* wrapped in a column of its own, with *label* beside its first line."""
        width = self._width - LABEL - 2
        lines = textwrap.wrap(text, width, break_on_hyphens=False, replace_whitespace=False) or [""]
        for number, line in enumerate(lines):
            head = (label if number == 0 else "").ljust(LABEL)
            self.line(f"  {self._styled(head, 'cyan')}{self._styled(line, style)}")

    def events(self, label: str, events: Sequence[str]) -> None:
        """The events of a stream, a line each."""
        shown = list(events)
        if len(shown) > MAX_EVENTS:
            half = MAX_EVENTS // 2
            left_out = f"... {len(shown) - MAX_EVENTS} more events ..."
            shown = [*shown[:half], left_out, *shown[-half:]]
        width = self._width - LABEL - 2
        for number, event in enumerate(shown):
            text = event if len(event) <= width else event[: width - 3] + "..."
            self.line(f"  {self._styled((label if number == 0 else '').ljust(LABEL), 'cyan')}{text}")

    def checks(self, right: Sequence[str], wrong: Sequence[str]) -> None:
        self.labelled("checked", "; ".join(right) or "-", "green")
        for text in wrong:
            self.labelled("WRONG", text, "red")

    def fail(self, text: str) -> None:
        self.line(f"extproc: {text}", "red")

    def log(self, name: str, text: str) -> None:
        self.title(f"The end of {name}'s log")
        self.line(text, "dim")

    def started(self, view: str, port: int, admin: int, providers: Sequence[int]) -> None:
        self.line(f"live view     http://{view}/  what was sent upstream, what it cost, what was lost", "bold")
        self.line(f"Envoy         http://127.0.0.1:{port}  (admin http://127.0.0.1:{admin})")
        self.line("sidecar       extproc serve, on a Unix socket: Envoy's listener calls it")
        self.line(f"providers     scripted: OpenAI at 127.0.0.1:{providers[0]}, Anthropic at 127.0.0.1:{providers[1]}")
        self.line("configuration deploy/envoy.yaml, with these addresses in place of the real ones")

    def verdict(self, steps: int, wrong: int) -> None:
        self.line()
        if wrong:
            self.line(f"{wrong} of {steps} steps went wrong.", "red")
        else:
            self.line(f"All {steps} steps were right.", "green")

    def leave_running(self, view: str, port: int, folder: Path) -> None:
        self.title(f"All of it is still running; http://{view}/ shows it. Paste these into another terminal:")
        self.line(SAMPLES.format(base=f"http://127.0.0.1:{port}"))
        self.line(f"Envoy's access log: tail -f {folder}/access.log   the sidecar's log: {folder}/sidecar.log", "dim")
        self.line("The providers are scripted: offer them a tool `get_weather` and they call it.", "dim")
        self.line(f"extproc tail {view} shows in a terminal what http://{view}/ shows in a browser.", "dim")
        self.line("Ctrl-C ends everything.", "bold")


SAMPLES = """
# curl, an Anthropic request to an OpenAI model
curl -sN {base}/v1/messages -H 'content-type: application/json' -d '{{"model": "gpt-5", "max_tokens": 99,
  "stream": true, "messages": [{{"role": "user", "content": "What colour is the sky?"}}]}}'

# curl, an OpenAI request to an Anthropic model
curl -sN {base}/v1/chat/completions -H 'content-type: application/json' -d '{{"model": "claude-haiku-4-5",
  "stream": true, "messages": [{{"role": "user", "content": "What colour is the sky?"}}]}}'

# OpenAI SDK (pip install openai)
python3 - <<'END'
from openai import OpenAI
client = OpenAI(base_url="{base}/v1", api_key="any")
answer = client.chat.completions.create(model="claude-haiku-4-5", messages=[{{"role": "user", "content": "Hi"}}])
print(answer.choices[0].message.content)
END

# Anthropic SDK (pip install anthropic)
python3 - <<'END'
from anthropic import Anthropic
client = Anthropic(base_url="{base}", api_key="any")
answer = client.messages.create(model="gpt-5", max_tokens=99, messages=[{{"role": "user", "content": "Hi"}}])
print(answer.content[0].text)
END

# Claude Code (npm install -g @anthropic-ai/claude-code)
ANTHROPIC_BASE_URL={base} ANTHROPIC_API_KEY=any ANTHROPIC_MODEL=gpt-5 ANTHROPIC_SMALL_FAST_MODEL=gpt-5 \\
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 claude -p 'What colour is the sky?'
"""
