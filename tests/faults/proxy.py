"""A TCP proxy on loopback that misbehaves as a network, a load balancer or a server does."""

import asyncio
import contextlib
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any, TypeVar

_Answer = TypeVar("_Answer")
_CHUNK_BYTES = 65536
_POLL_SECONDS = 0.02


class Mode(StrEnum):
    """How the proxy treats connections, those that are open included."""

    PASS = "pass"
    REFUSE = "refuse"
    SLOW_DOWN = "slow down"
    """Answers HTTP requests with 503, as S3 does when there are too many."""
    FORBIDDEN = "forbidden"
    """Answers HTTP requests with 403, as S3 does when a permission is taken away."""
    SLOW = "slow"
    SILENT = "silent"
    """Takes everything and forwards nothing."""
    HALF_REQUESTS = "half requests"
    """Breaks a connection in the middle of what the client sends."""
    LOSE_ANSWERS = "lose answers"
    """Forwards what the client sends, and breaks the connection instead of forwarding the answer."""


def _refusal(status: str, code: str, message: str) -> bytes:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


_REFUSALS = {
    Mode.SLOW_DOWN: _refusal("503 Slow Down", "SlowDown", "later"),
    Mode.FORBIDDEN: _refusal("403 Forbidden", "AccessDenied", "Access Denied"),
}


class FaultyProxy:
    """Forwards connections to the port that `target` returns, as `mode` says; for use from any thread."""

    def __init__(self, target: Callable[[], int]) -> None:
        self.mode = Mode.PASS
        self.port = 0
        self._target = target
        self._open: set[StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._call(self._listen())

    def stop(self) -> None:
        """Cut everything and listen no more."""
        self.cut()
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def cut(self) -> int:
        """Break all open connections; return how many sockets that were."""
        return self._call(self._cut())

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _cut(self) -> int:
        writers = list(self._open)
        for writer in writers:
            writer.transport.abort()
        return len(writers)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self.mode is Mode.REFUSE:
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target())
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, server_writer}
        self._open |= pair
        up = asyncio.create_task(self._forward(reader, server_writer, writer, is_request=True))
        down = asyncio.create_task(self._forward(server_reader, writer, writer, is_request=False))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
            down.cancel()
            self._open -= pair
            for each in pair:
                each.close()

    async def _forward(
        self, reader: StreamReader, writer: StreamWriter, client: StreamWriter, *, is_request: bool
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_CHUNK_BYTES):
                while self.mode is Mode.SILENT:  # noqa: ASYNC110 - the mode is set by other threads
                    await asyncio.sleep(_POLL_SECONDS)
                if self.mode is Mode.SLOW:
                    await asyncio.sleep(0.7)
                if self.mode is Mode.REFUSE or (self.mode is Mode.LOSE_ANSWERS and not is_request):
                    client.transport.abort()
                    return
                if is_request and self.mode in _REFUSALS:
                    client.write(_REFUSALS[self.mode])
                    await client.drain()
                    return
                if is_request and self.mode is Mode.HALF_REQUESTS:
                    writer.write(data[: len(data) // 2])
                    await writer.drain()
                    client.transport.abort()
                    return
                writer.write(data)
                await writer.drain()

    def _call(self, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)
