"""Which of Gradio's routes the page needs, and what they are asked; the others are not there."""

from __future__ import annotations

from typing import Any

from basrelief.serving.limits import RequestError
from basrelief.serving.page_files import MOST_JSON, UPLOAD, Shelf, own_files

GRADIO = "/gradio_api/"
API = "/api"  # our own pages, which bring their own rules
NEEDED = (
    "upload",
    "upload_progress",
    "queue/join",
    "queue/data",
    "heartbeat/",
    "startup-events",
    "theme.css",
    "cancel",
    "app_id",
    "file=",
)
# Pages and files beside them that only hosted demos, apps on phones or developers want.
UNUSED = ("/monitoring", "/login", "/logout", "/pwa_icon", "/robots.txt", "/svelte")

# What the browser may load for the page: nothing from anywhere else. Gradio has scripts and styles within the page, and
# makes functions of text.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)


class PageRoutes:
    """ASGI middleware that answers 404 for Gradio's routes which the page does not use, and keeps the page to itself.

    Among them are some that fetch an address for whoever asks, run functions without the queue, or describe an API
    that is not ours.
    """

    def __init__(self, app: Any, shelf: Shelf) -> None:
        self.app = app
        self.shelf = shelf

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass on what the page needs."""
        if scope["type"] == "http" and not allowed(scope["path"]):
            return await _answer(send, 404, "Not here.")
        if scope["type"] == "http" and _asks(scope):
            try:
                body = own_files(await _read(receive), self.shelf)
            except RequestError as error:
                return await _answer(send, error.status, error.message)
            kept = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
            scope = scope | {"headers": [*kept, (b"content-length", b"%d" % len(body))]}
            receive = _again(body, receive)

        async def send_guarded(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                # Gradio lets the pages of every site read a server that is not on the browser's own machine.
                kept = [one for one in message["headers"] if not one[0].lower().startswith(b"access-control-")]
                if b"content-security-policy" not in {name.lower() for name, _ in kept}:
                    kept.append((b"content-security-policy", POLICY.encode()))
                message = message | {"headers": kept}
            await send(message)

        outside = scope["type"] != "http" or scope["path"].startswith(API)
        await self.app(scope, receive, send if outside else send_guarded)


def _asks(scope: dict[str, Any]) -> bool:
    """Return whether a request is one with JSON for Gradio, as all are but those with files."""
    path: str = scope["path"]
    return scope["method"] == "POST" and path.startswith(GRADIO) and path != UPLOAD


async def _read(receive: Any) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise RequestError(499, "The client has gone.")
        body += message.get("body", b"")
        if len(body) > MOST_JSON:
            raise RequestError(413, f"The request has more than {MOST_JSON:,} bytes.")
        if not message.get("more_body", False):
            return bytes(body)


def _again(body: bytes, receive: Any) -> Any:
    """Return a stream that brings a body, and then what comes behind it."""
    left: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_part() -> Any:
        return left.pop() if left else await receive()

    return next_part


async def _answer(send: Any, status: int, text: str) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def allowed(path: str) -> bool:
    """Return whether a path is one of the server's, and not one of Gradio's that the page does without."""
    if path.startswith(UNUSED):
        return False
    if not path.startswith(GRADIO):
        return True
    asked = path.removeprefix(GRADIO)
    if asked.startswith("file=") and asked.removeprefix("file=").lstrip("/").lower().startswith(("http:", "https:")):
        return False
    return asked.startswith(NEEDED)
