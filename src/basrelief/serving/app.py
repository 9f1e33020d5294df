"""The HTTP application: the API, the page beside it, and the guard before both."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from importlib import metadata
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from basrelief.inference.predictor import Predictor
from basrelief.serving.guard import Guard
from basrelief.serving.limits import Limits
from basrelief.serving.refusals import add_refusals
from basrelief.serving.routes import add_api
from basrelief.serving.service import Service
from basrelief.serving.uploads import Uploads
from basrelief.serving.work import Work


def make_app(
    predictor: Predictor,
    limits: Limits | None = None,
    *,
    token: str | None = None,
    hosts: Iterable[str] | None = None,
    title: str = "",
    home: Path | None = None,
    page: bool = True,
) -> FastAPI:
    """Return the application that serves a network.

    Parameters
    ----------
    predictor
        The network, called by several threads.
    limits
        What one request may take.
    token
        What whoever asks has to show; None: nothing.
    hosts
        Names by which the server may be called; None: any.
    title
        The network's name, for people.
    home
        The directory with the run's plan and data, for the page's examples.
    page
        Whether there is a page for people at ``/`` beside the API.
    """
    limits = limits or Limits()
    service = Service(predictor, limits, Work(limits), Uploads(limits), title or str(predictor.run["network"]))

    @contextlib.asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        service.work.begin()
        yield
        service.work.close()

    app = FastAPI(
        title=f"Basrelief: {service.title}",
        version=metadata.version("basrelief"),
        docs_url=None,
        redoc_url=None,
        lifespan=life,
    )
    app.state.service = service
    add_api(app, service)
    add_refusals(app)
    if page:
        from basrelief.serving.page import add_page

        app = add_page(app, service, home)
    else:
        app.get("/", include_in_schema=False)(lambda: RedirectResponse("/api"))
    app.add_middleware(Guard, token=token, hosts=None if hosts is None else tuple(hosts))
    return app
