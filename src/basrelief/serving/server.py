"""Running the application on a port until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from basrelief.errors import UsageError

HEAD_SECONDS = 10.0  # that a connection may stay without a whole request
MOST_CONNECTIONS = 1000
GRACE = 2  # seconds for connections that are open at the end with nothing being computed, such as a page's


def open_port(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one.

    Raises
    ------
    UsageError
        When the port is taken or may not be used, or the host is none of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise UsageError(f"--host {host}: is no name or address of this machine. Leave it out for 127.0.0.1.") from None
    family, _, _, _, address = found[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"--port {port}: another program listens there. Choose another; 0 takes a free one."
            ) from None
        if error.errno == errno.EACCES:
            raise UsageError(f"--port {port}: may not be used by you. Choose one above 1023.") from None
        raise UsageError(f"--host {host} --port {port}: {error.strerror}.") from None
    return listener


def run_server(app: FastAPI, listener: socket.socket, *, started: Callable[[], None]) -> None:
    """Answer requests until Ctrl-C or a request to end; what is being computed then is finished and answered first."""
    config = uvicorn.Config(
        app,
        http=_protocol(_connections()),
        ws="none",
        loop="asyncio",
        log_config=None,
        log_level="critical",  # what goes wrong is said by the application
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE,
        h11_max_incomplete_event_size=32 << 10,
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started:
                started()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            for server in self.servers:
                server.close()
            while app.state.service.work.busy and not self.force_exit:
                await asyncio.sleep(0.05)
            await super().shutdown(sockets=sockets)

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:  # uvicorn's own sends them on at the end
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    Server(config).run(sockets=[listener])


def _connections() -> int:
    """Return how many connections may be open: fewer than the system lets a process have."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows has no such limit
        return MOST_CONNECTIONS
    return max(32, min(MOST_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100))


def _protocol(most: int) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol with a time limit on what comes before and after a request, and JSON for refusals."""

    class Protocol(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None
        _unsent = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > most:
                self._refuse(503, "Too many connections are open. Try again in a moment.")
            else:
                self._arm()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._disarm()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.cycle is None or self.cycle.response_complete:  # else a request that waited has begun
                self._arm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words stay out
            self._refuse(400, "This is no HTTP request, or its head is too long.")

        def _refuse(self, status: int, message: str) -> None:
            body = json.dumps({"error": message}).encode()
            self.transport.write(
                b"HTTP/1.1 %d Refused\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
                b"Connection: close\r\n\r\n%s" % (status, len(body), body)
            )
            self.transport.close()

        def _arm(self) -> None:
            self._disarm()
            self._unsent = self.transport.get_write_buffer_size()
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._over)

        def _disarm(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _over(self) -> None:
            if 0 < self.transport.get_write_buffer_size() < self._unsent:  # a slow reader, but it reads
                self._arm()
            else:
                self.transport.abort()

    return Protocol
