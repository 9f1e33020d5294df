"""What commands do with a trained network, as functions: load it, predict pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from basrelief.errors import UsageError
from basrelief.inference.cutout import parse_backdrop
from basrelief.inference.kinds import Outputs
from basrelief.inference.load import load
from basrelief.inference.points import choose_lens, note_kind
from basrelief.inference.predict_files import predict_files
from basrelief.inference.predictor import Predictor, Threshold
from basrelief.inference.tiles import Tile


def load_predictor(
    run: str | Path,
    *,
    device: str = "auto",
    threshold: Threshold | None = None,
    tile: Tile | str | None = None,
    mirror: bool | None = None,
    ensemble: bool = False,
) -> Predictor:
    """Load a network to use it in Python; see ``basrelief.inference.load.load``."""
    return load(run, device=device, threshold=threshold, tile=tile, mirror=mirror, ensemble=ensemble).predictor


def predict(
    run: str | Path,
    inputs: Iterable[str | Path],
    out: str | Path,
    *,
    soft: int | None = None,
    npy: bool = False,
    preview: bool = False,
    cutout: bool = False,
    replace: str | Path | None = None,
    ply: bool = False,
    fov: float | None = None,
    intrinsics: str | tuple[float, float, float, float] | None = None,
    boxes: bool = False,
    min_area: int | None = None,
    every: int = 1,
    background: str | Path | None = None,
    threshold: Threshold | None = None,
    tile: Tile | str | None = None,
    mirror: bool | None = None,
    ensemble: bool = False,
    device: str = "auto",
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Predict pictures into a folder, with the network of a run, a study or a file.

    Parameters
    ----------
    run
        What ``load_predictor`` takes.
    inputs
        Images, folders of them, patterns, videos; ``-`` is one picture on standard input.
    out
        The folder: ``NAME_mask.png`` and ``NAME_depth.png`` as far as the network predicts them, at each picture's own
        size. Existing results are kept, unless ``overwrite``.
    soft
        8 or 16: write ``NAME_soft.png``, the probability in so many bits, instead of the hard mask.
    npy, preview, cutout
        Write ``NAME_mask.npy`` and ``NAME_depth.npy`` (unrounded), ``NAME_preview.png`` (to look at),
        ``NAME_cutout.png`` (the figure with transparency) as well.
    replace
        Write ``NAME_replaced.png`` as well: the background replaced by a colour, a picture, or ``blur[:SIGMA]``.
    ply, fov, intrinsics
        Write ``NAME.ply`` as well, a cloud of points, for a camera of this horizontal field of view in degrees, or of
        these (fx, fy, cx, cy) in pixels.
    boxes, min_area
        Write ``boxes.json`` as well: the masks' connected components of at least so many pixels as COCO annotations.
    every
        Of videos, take one frame of so many.
    background
        The empty scene, or a folder of them, for a network that was trained with backgrounds.
    threshold, tile, mirror, ensemble, device
        See ``basrelief.inference.load.load``.
    progress
        Called with (done, total).

    Returns
    -------
    dict
        ``run``, ``note`` and what ``predict_files`` returns: ``out``, ``written``, ``kept``, ``failed`` (input -> why),
        ``images_per_second`` and ``seconds``.
    """
    if not ply and (fov is not None or intrinsics is not None):
        raise UsageError("--fov and --intrinsics are for --ply; give that as well, or leave them out.")
    if not boxes and min_area is not None:
        raise UsageError("--min-area is for --boxes; give that as well, or leave it out.")
    outputs = Outputs(
        soft=soft,
        npy=npy,
        preview=preview,
        cutout=cutout,
        backdrop=None if replace is None else parse_backdrop(replace),
        lens=choose_lens(fov, intrinsics) if ply else None,
        boxes=boxes,
        min_area=1 if min_area is None else min_area,
    )
    given = {"threshold": threshold, "tile": tile, "mirror": mirror}
    loaded = load(run, device=device, ensemble=ensemble, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    settings = {
        "tile": None if tile is None else str(tile),
        "mirror": mirror,
        "soft": soft,
        "replace": None if replace is None else str(replace),
        "camera": None if outputs.lens is None else asdict(outputs.lens),
        "min-area": outputs.min_area if boxes else None,
    }
    done = predict_files(
        loaded.predictor,
        inputs,
        Path(out),
        outputs=outputs,
        settings={name: value for name, value in settings.items() if value is not None},
        background=background,
        every=every,
        overwrite=overwrite,
        progress=progress,
    )
    notes = [loaded.note, done.pop("note")]
    if ply:
        notes.append(note_kind(loaded.predictor.run["depth_kind"] or "", loaded.predictor.run["depth_unit"] or ""))
    return {"run": str(loaded.source), "note": " ".join(filter(None, notes)), **done}
