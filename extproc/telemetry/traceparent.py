"""Whose trace an exchange belongs to: W3C's header ``traceparent`` (https://www.w3.org/TR/trace-context/, 2021), read,
decided upon and written."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ..frozen import Frozen

HEADER = "traceparent"
SAMPLED, RANDOM = 0x01, 0x02
_VALUE = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\Z")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16

Came = Sequence[tuple[str, str]]


class Traced(Frozen):
    """The span of one exchange, or attempt: ids in hexadecimal. ``parent_id`` is empty where it begins the trace."""

    trace_id: str
    span_id: str
    parent_id: str = ""
    flags: int = SAMPLED

    @property
    def sampled(self) -> bool:
        """It is recorded, here and by whoever obeys."""
        return bool(self.flags & SAMPLED)

    @property
    def header(self) -> str:
        """What tells others of it."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    def told(self, headers: Came) -> list[tuple[str, str]]:
        """*headers* with its own in place of those of another span."""
        return [*(pair for pair in headers if pair[0] != HEADER), (HEADER, self.header)]


def value_in(headers: Came) -> str:
    """The header's value, empty if there is none, or several, of which nobody knows which is meant."""
    values = [value for name, value in headers if name == HEADER]
    return values[0].strip() if len(values) == 1 else ""


class Tracing(Frozen):
    """How traces are sampled: as the parent says, and of those that begin here so many as *ratio* (0 to 1). *bits*
    gives random numbers of so many bits."""

    ratio: float
    bits: Callable[[int], int]

    def begin(self, headers: Came) -> Traced | None:
        """The span of an exchange that came with *headers*; ``None`` where its parent is not sampled: then nothing is
        recorded, and the header goes on as it came."""
        found = _read(value_in(headers))
        if found is None:
            trace = self._id(128)
            # The same half of the id as OpenTelemetry's samplers take: two gateways with one ratio agree.
            sampled = int(trace[16:], 16) < self.ratio * 2**64
            return Traced(trace, self._id(64), flags=RANDOM | SAMPLED if sampled else RANDOM)
        trace, parent, flags = found
        return Traced(trace, self._id(64), parent, flags) if flags & SAMPLED else None

    def again(self, value: str) -> Traced | None:
        """The span of an attempt behind that one whose header was *value*, and which had no parent."""
        found = _read(value)
        return None if found is None else Traced(found[0], self._id(64), flags=found[2])

    def _id(self, size: int) -> str:
        number = 0
        while not number:
            number = self.bits(size)
        return f"{number:0{size // 4}x}"


def _read(value: str) -> tuple[str, str, int] | None:
    """Trace, span and flags; ``None`` for what is none. Later versions may have more behind what this one has."""
    found = _VALUE.match(value)
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5] is not None):
        return None
    if found[2] == _NO_TRACE or found[3] == _NO_SPAN:
        return None
    return found[2], found[3], int(found[4], 16) & (SAMPLED | RANDOM)
