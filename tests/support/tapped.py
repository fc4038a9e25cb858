"""A scripted upstream that keeps every byte that reaches it, on any connection, read or not."""

from __future__ import annotations

import asyncio
from typing import Any

from extproc.demo.provider import Respond

from .upstream import ScriptedUpstream


class TappedUpstream(ScriptedUpstream):
    """``raw`` is all that came since ``reset``."""

    def __init__(self, usual: Respond) -> None:
        super().__init__(usual)
        self.raw = bytearray()

    def reset(self) -> None:
        super().reset()
        self.raw.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        take = reader.feed_data

        def tapped(data: Any) -> None:
            self.raw += data
            take(data)

        reader.feed_data = tapped  # type: ignore[method-assign]
        await super()._connected(reader, writer)
