"""How a request is refused: a status code, and a sentence as JSON; what went wrong inside stays inside."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from basrelief.errors import BasreliefError
from basrelief.serving.limits import RequestError

log = logging.getLogger("basrelief.serving")
# No page of the API may be put in another one's frame, run scripts, or be taken for another type than it says.
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}


def add_refusals(app: FastAPI) -> None:
    """Have an application answer every error so."""

    def refuse(request: Request, status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
        log.info("%s %a %d %s", request.method, request.url.path[:100], status, message)
        return JSONResponse({"error": message}, status, {**SAFE, **(headers or {})})

    async def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestError)
        return refuse(request, error.status, error.message, error.headers)

    async def unusable(request: Request, error: Exception) -> JSONResponse:
        return refuse(request, 422, str(error))

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        faults = (f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors())
        return refuse(request, 422, "; ".join(faults)[:500] + ".")

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        message = {
            404: "There is no such address; /api tells what there is.",
            405: "The address takes another method; see /api.",
        }
        return refuse(
            request, error.status_code, message.get(error.status_code, f"{error.detail}."), dict(error.headers or {})
        )

    async def broken(request: Request, error: Exception) -> JSONResponse:
        log.error(
            "%s %a failed: %s: %s", request.method, request.url.path[:100], type(error).__name__, str(error)[:300]
        )
        return refuse(request, 500, "The server could not do it, and it is not your request's fault.")

    for kind, handler in (
        (RequestError, refused),
        (BasreliefError, unusable),
        (RequestValidationError, invalid),
        (HTTPException, http),
        (Exception, broken),
    ):
        app.add_exception_handler(kind, handler)
