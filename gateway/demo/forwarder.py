"""One TCP port of one host made reachable on another host's loopback, as `ssh -L` does it.

The development provider listens on the gateway's loopback only, because it lets anybody in. The browser on the laptop
reaches it through this, and nothing else does.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

from gateway.demo.namespaces import Host


class Forwarder:
    """From `__init__` to `close`, `127.0.0.1:port` on `here` is `127.0.0.1:port` on `there`."""

    def __init__(self, here: Host, there: Host, port: int) -> None:
        self._port = port
        with here.entered():
            self._listener = socket.create_server(("127.0.0.1", port))
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._live_on, args=(there,), daemon=True, name="forwarder")
        self._thread.start()
        self._started.wait(5.0)

    def close(self) -> None:
        """End all connections."""
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()
        self._listener.close()

    def _live_on(self, there: Host) -> None:
        with there.entered(), contextlib.suppress(asyncio.CancelledError):
            asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        async with await asyncio.start_server(self._forward, sock=self._listener):
            self._started.set()
            await asyncio.Event().wait()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(_close, writer)
            with contextlib.suppress(OSError):
                there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
                stack.push_async_callback(_close, there_writer)
                await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.write_eof()
