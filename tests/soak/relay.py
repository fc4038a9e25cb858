"""Stands between Envoy and the sidecar, so that their connections can be cut while both live."""

from __future__ import annotations

import asyncio
import contextlib


class Relay:
    """A Unix socket at *path* that leads to the one at *target*."""

    def __init__(self, path: str, target: str) -> None:
        self.path = path
        self.cuts = 0
        self._target = target
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._connected, self.path)

    def close(self) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """End every connection without a word."""
        self.cuts += 1
        for writer in self._open:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self._target)
        ends = {writer, back}
        self._open |= ends
        try:
            await asyncio.gather(_carry(reader, back), _carry(there, writer))
        finally:
            self._open -= ends
            for each in ends:
                each.transport.abort()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(256 * 1024):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
