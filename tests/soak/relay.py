"""Stands between two processes, so that their connections can be cut while both live."""

from __future__ import annotations

import asyncio
import contextlib

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Between:
    """Carries what comes on a socket of its own to another: which they are, its kinds know."""

    def __init__(self) -> None:
        self.cuts = 0
        self.down = False
        """Whether it takes no connection."""
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server

    async def start(self) -> None:
        self._server = await self._listening()

    async def _listening(self) -> asyncio.Server:
        raise NotImplementedError

    async def _reached(self) -> Ends:
        raise NotImplementedError

    def close(self) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """End every connection without a word."""
        self.cuts += 1
        for writer in self._open:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.down:
            writer.transport.abort()
            return
        there, back = await self._reached()
        ends = {writer, back}
        self._open |= ends
        try:
            await asyncio.gather(_carry(reader, back), _carry(there, writer))
        finally:
            self._open -= ends
            for each in ends:
                each.transport.abort()


class Relay(Between):
    """A Unix socket at *path* that leads to the one at *target*."""

    def __init__(self, path: str, target: str) -> None:
        super().__init__()
        self.path = path
        self._target = target

    async def _listening(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._connected, self.path)

    async def _reached(self) -> Ends:
        return await asyncio.open_unix_connection(self._target)


class Wire(Between):
    """A ``port`` of loopback, once it is started, that leads to *target*, another."""

    def __init__(self, target: int) -> None:
        super().__init__()
        self.port = 0
        self._target = target

    async def _listening(self) -> asyncio.Server:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _reached(self) -> Ends:
        return await asyncio.open_connection("127.0.0.1", self._target)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(256 * 1024):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
