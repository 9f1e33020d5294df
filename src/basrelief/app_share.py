"""What commands do to hand a trained network on, as functions: export it, serve it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from basrelief.errors import MissingExtraError, UsageError
from basrelief.exporting.export import export_run
from basrelief.inference.load import load
from basrelief.inference.predictor import Threshold
from basrelief.inference.tiles import Tile
from basrelief.serving.limits import Limits

_LOCAL = ("127.0.0.1", "localhost", "::1")


def export(
    run: str | Path,
    to: str = "onnx",
    *,
    out: str | Path | None = None,
    opset: int | None = None,
    int8: bool = False,
    data: str | Path | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write a trained network as one file that needs no Basrelief, and check it against the run.

    An ONNX file, or a program of torch.export, takes ``image`` (and ``background``), uint8 (N, H, W, 3) of any size,
    and gives ``mask`` (N, K, H, W), probabilities, and ``depth`` (N, 1, H, W) in the run's unit, at that size. A
    safetensors file holds the weights and what ``load_predictor`` needs beside them.

    Parameters
    ----------
    run
        The directory of a run or a study; or a saved network: a folder, a .safetensors file, ``hf://OWNER/NAME``.
    to
        "onnx", "torch" or "safetensors".
    out
        The file; by default the run's name in the current folder, ending in .onnx, .pt2 or .safetensors.
    opset
        ONNX's; by default 18.
    int8
        Write a second file, NAME.int8.onnx, with the network in 8-bit whole numbers, and measure what that costs. It
        needs the directory of a run or a study.
    data
        Images for both checks; by default the run's validation images, or generated scenes for a saved network.
    overwrite
        Replace files that are there.
    progress
        Called with steps done and steps in all.

    Returns
    -------
    dict
        ``run``, ``note`` (which run of a study), ``file``, ``to``, ``opset``, ``bytes``, ``parity`` (the largest
        differences to the run: ``mask`` in probability, ``depth`` over the depth maximum; ``images``, ``on``),
        ``int8`` (None, or ``file``, ``bytes``, ``images``, ``metric``, ``fp32``, ``int8``, ``cost``), ``seconds``.

    Raises
    ------
    OutputError
        When the file is there already, or differs from the run by more than 1e-3; then nothing is written.
    MissingExtraError
        Without the packages that ONNX needs: ``pip install "basrelief[export]"``.
    """
    return export_run(
        run,
        to,
        out=None if out is None else Path(out),
        opset=opset,
        int8=int8,
        data=None if data is None else str(data),
        overwrite=overwrite,
        progress=progress,
    )


def serve(
    run: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    token: str | None = None,
    limits: Limits | None = None,
    page: bool = True,
    device: str = "auto",
    threshold: Threshold | None = None,
    tile: Tile | str | None = None,
    mirror: bool | None = None,
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
