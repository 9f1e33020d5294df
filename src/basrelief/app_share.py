"""What commands do to hand a trained network on, as functions: export it, serve it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from pathlib import Path

from basrelief.errors import MissingExtraError, UsageError
from basrelief.inference.load import load
from basrelief.inference.predictor import Threshold, Tile
from basrelief.serving.limits import Limits

_LOCAL = ("127.0.0.1", "localhost", "::1")


def serve(
    run: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    token: str | None = None,
    limits: Limits | None = None,
    page: bool = True,
    device: str = "auto",
    threshold: Threshold = 0.5,
    tile: Tile = "auto",
    mirror: bool = False,
    ensemble: bool = False,
    started: Callable[[dict[str, str | None]], None] | None = None,
) -> None:
    """Serve a network on a port, as a page and an HTTP API, until Ctrl-C or a request to end.

    Parameters
    ----------
    run, device, threshold, tile, mirror, ensemble
        See ``basrelief.inference.load.load``.
    host
        Address to listen on. Another one than this machine's own (127.0.0.1, ::1) lets others on the network ask.
    port
        0 takes a free one.
    token
        What whoever asks has to show; "auto" makes one; None: nothing.
    limits
        What one request may take.
    page
        Whether there is a page for people beside the API.
    started
        Called when the server listens, with ``url`` (of the page; with a token, the address that carries it), ``api``,
        ``token``, ``run``, ``note`` (how the run was chosen) and ``warning`` (where everyone on the network may ask).

    Raises
    ------
    MissingExtraError
        Without the packages of the extra ``serve``.
    UsageError
        When the host or port cannot be used, or the token has signs that no address can carry.
    """
    try:
        from basrelief.serving.app import make_app
        from basrelief.serving.server import open_port, run_server
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "fastapi", "serve", "Serving a network") from None
    if token == "auto":
        token = secrets.token_urlsafe(18)
    if token is not None and not re.fullmatch(r"[A-Za-z0-9._~-]{8,256}", token):
        raise UsageError("--token: expected at least 8 letters, digits or any of . _ ~ -, or auto, which makes one.")
    listener = open_port(host, port)
    with listener:
        loaded = load(run, device=device, threshold=threshold, tile=tile, mirror=mirror, ensemble=ensemble)
        local = host in _LOCAL or host.startswith("127.")
        app = make_app(
            loaded.predictor,
            limits,
            token=token,
            hosts=(*_LOCAL, "[::1]", host) if local else None,
            title=loaded.source.resolve().name,
            home=loaded.home,
            page=page,
        )
        shown = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listener.getsockname()[1]}"
        facts: dict[str, str | None] = {
            "url": f"{url}/?token={token}" if token else f"{url}/",
            "api": f"{url}/api",
            "token": token,
            "run": str(loaded.source),
            "note": loaded.note,
            "warning": None if local or token else _EVERYONE.format(host=host),
        }
        run_server(app, listener, started=lambda: started(facts) if started else None)


_EVERYONE = (
    "WARNING: --host {host} without --token: whoever reaches this machine over the network can use this server, and so "
    "its processor and memory. With --token auto only those who have the token can."
)
