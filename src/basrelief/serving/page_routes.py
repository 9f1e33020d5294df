"""Which of Gradio's routes the page needs; the others are not there."""

from __future__ import annotations

from typing import Any

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

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass on what the page needs."""
        if scope["type"] == "http" and not allowed(scope["path"]):
            return await _answer(send, 404, b"text/plain", b"Not here.")

        async def send_guarded(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                policy = [] if b"content-security-policy" in names else [(b"content-security-policy", POLICY.encode())]
                message = message | {"headers": [*message["headers"], *policy]}
            await send(message)

        outside = scope["type"] != "http" or scope["path"].startswith(API)
        await self.app(scope, receive, send if outside else send_guarded)


async def _answer(send: Any, status: int, kind: bytes, body: bytes) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", kind), (b"content-length", b"%d" % len(body))],
        }
    )
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
