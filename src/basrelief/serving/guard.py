"""What every request passes first, the page's as well: whether it is meant for this server, and may ask."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from basrelief.serving.uploads import PACE, PATIENCE

OPEN = ("/api/health",)  # paths that anyone may ask for
MONTH = 30 * 24 * 3600


class Guard:
    """An ASGI middleware that asks for the token, and turns away what other sites make a browser send.

    Parameters
    ----------
    app
        What it stands before.
    token
        The token, or None where everyone may ask.
    hosts
        Names by which the server may be called, without ports; None: by any. A site that points its own name at this
        machine (DNS rebinding) is turned away so.
    """

    def __init__(self, app: ASGIApp, *, token: str | None = None, hosts: Iterable[str] | None = None) -> None:
        self.app = app
        self.token = token
        self.hosts = None if hosts is None else {host.lower() for host in hosts}
        self.cookie = "basrelief-" + hashlib.sha256((token or "").encode()).hexdigest()[:8]  # one a server, on a host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        headers = Headers(scope=scope)
        answer: Response | None = None
        if self.hosts is not None and _host(headers.get("host", "")) not in self.hosts:
            answer = JSONResponse({"error": "This server does not go by that name (see --host)."}, 400)
        elif scope["method"] not in ("GET", "HEAD") and _from_elsewhere(headers):
            answer = JSONResponse({"error": "Pages of other sites may not ask this server."}, 403)
        elif self.token is not None and scope["path"] not in OPEN:
            query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            given = [value for name, value in query if name == "token"]
            if given and scope["method"] == "GET" and not scope["path"].startswith("/api/") and self._right(given[0]):
                # A page: the browser carries the token on in a cookie, and no address that is copied shows it.
                rest = urlencode([(name, value) for name, value in query if name != "token"])
                answer = RedirectResponse("/" + quote(scope["path"].lstrip("/")) + ("?" + rest if rest else ""), 303)
                answer.set_cookie(self.cookie, self.token, max_age=MONTH, httponly=True, samesite="strict")
            elif not any(map(self._right, [*given, _bearer(headers), _cookie(headers, self.cookie)])):
                answer = JSONResponse(
                    {"error": "This server wants a token: Authorization: Bearer TOKEN, or ?token=TOKEN."},
                    401,
                    {"WWW-Authenticate": "Bearer"},
                )
        await (answer or self.app)(scope, _paced(receive), send)

    def _right(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (self.token or "").encode())


def _paced(receive: Receive) -> Receive:
    """Return a stream that ends, as if the client had gone, when a body comes too slowly; the page's as well."""
    clock = asyncio.get_running_loop().time
    end, whole = clock() + 2 * PATIENCE, False  # the API itself is stricter, and says so

    async def next_part() -> Message:
        nonlocal end, whole
        if whole:  # what comes now is news of the client's leaving, and may take long
            return await receive()
        try:
            async with asyncio.timeout_at(end):
                part = await receive()
        except TimeoutError:
            return {"type": "http.disconnect"}
        end += len(part.get("body", b"")) / PACE
        whole = not part.get("more_body", False)
        return part

    return next_part


def _from_elsewhere(headers: Headers) -> bool:
    """Return whether a page of another site makes the browser ask."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")  # another port of this machine is the same site
    origin = headers.get("origin")  # all that a browser tells a server without HTTPS that is not on its own machine
    return origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()


def _host(header: str) -> str:
    name, _, port = header.lower().rpartition(":")
    return name if name and port.isdecimal() else header.lower()


def _bearer(headers: Headers) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""
