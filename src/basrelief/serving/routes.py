"""The API's addresses."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, Response

from basrelief.serving.answers import (
    KINDS,
    Output,
    archive,
    check_kinds,
    document,
    kinds_of,
    picture,
    planes_for,
    to_json,
)
from basrelief.serving.handbook import handbook
from basrelief.serving.limits import RequestError
from basrelief.serving.refusals import SAFE
from basrelief.serving.service import Service

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_BODY = {  # for openapi.json: FastAPI does not see what is read from the stream
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "image": {"type": "string", "format": "binary"},
                        "background": {"type": "string", "format": "binary"},
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


def add_api(app: FastAPI, service: Service) -> None:
    """Add the API to an application."""
    facts = service.facts()
    text = handbook(facts)
    targets = tuple(service.predictor.run["targets"])

    @app.get("/api/health")
    @app.head("/api/health", include_in_schema=False)
    async def health() -> dict[str, str]:
        """Whether the server lives."""
        return {"status": "ok"}

    @app.get("/api/info")
    async def info() -> dict[str, Any]:
        """What the network is, and what a request may take."""
        return facts

    @app.get("/api", response_class=HTMLResponse, include_in_schema=False)
    async def api() -> HTMLResponse:
        return HTMLResponse(text, headers=SAFE)

    @app.post("/api/predict", openapi_extra=_BODY, response_model=None)
    async def predict(
        request: Request,
        output: Output = "json",
        threshold: Annotated[float | None, Query(ge=0, le=1)] = None,
        include: Annotated[str, Query(description="With output=json: pictures, such as mask,depth.")] = "",
    ) -> Response:
        """Predict one image: its bytes are the body, or the field ``image`` of a form."""
        begun = time.perf_counter()
        wanted = tuple(kind for kind in KINDS if kind in include.split(","))
        check_kinds([name for name in include.split(",") if name], targets, "include")
        used = planes_for(output, wanted)
        if output not in ("json", "zip"):
            check_kinds([output], targets, "output")

        with service.work.place(), service.uploads.account() as taken:
            files = await service.uploads.read(request, taken)
            if "image" not in files:
                raise RequestError(422, "The form has no file named image.")
            if service.predictor.takes_background and "background" not in files:
                raise RequestError(
                    422, "This network takes the empty scene beside the image: send a form with image and background."
                )
            if not service.predictor.takes_background and "background" in files:
                raise RequestError(422, "This network takes an image alone; leave the background out.")

            gone = threading.Event()

            def answer() -> tuple[bytes, str]:
                planes = service.planes(
                    files.pop("image"), files.pop("background", None), used, threshold=threshold, gone=gone
                )
                if output == "json":
                    found = document(planes, wanted)
                    found["seconds"] = round(time.perf_counter() - begun, 4)
                    return to_json(found), "application/json"
                if output == "zip":
                    return archive(planes, kinds_of(targets)), "application/zip"
                return picture(planes, output), "image/png"

            try:
                content, media = await _unless_gone(request, service.work.run(answer))
            finally:
                gone.set()
        return Response(content, media_type=media, headers=SAFE)

    known = {getattr(route, "path", "") for route in app.routes}

    @app.api_route("/api/{rest:path}", methods=METHODS, include_in_schema=False)
    async def other(request: Request) -> None:
        """Refuse what else is asked below /api: the page, which has all other addresses, has its own words."""
        raise HTTPException(405 if request.url.path in known else 404)


async def _unless_gone(request: Any, work: Any) -> Any:
    """Await work for a request, but drop it when its client has gone."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise RequestError(499, "The client has gone.")
        return task.result()
    finally:
        for one in (task, gone):
            one.cancel()


async def _gone(request: Any) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
