"""What can be written of a picture: a table with one line a kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from basrelief.errors import UsageError
from basrelief.functional.colours import class_colours
from basrelief.inference.cutout import Alpha, Backdrop, cut_out, put_before
from basrelief.inference.planes import Facts, Planes
from basrelief.inference.points import Lens, check_kind, note_kind, write_ply
from basrelief.inference.preview import draw_preview
from basrelief.inference.spool import Spool

_FAST, _SMALL = 1, 4  # zlib's levels: of masks and depth, which it hardly matters for, and of colours


@dataclass(frozen=True)
class Outputs:
    """What is to be written of each picture, beside mask and depth.

    Attributes
    ----------
    soft
        Probability with 8 or 16 bits instead of the hard mask.
    npy, preview, cutout
        Unrounded arrays; a picture to look at; the figure with transparency.
    backdrop
        What the background is replaced by.
    lens
        The camera, for a cloud of points.
    boxes, min_area
        Connected components of at least so many pixels, of all pictures in one COCO document.
    """

    soft: int | None = None
    npy: bool = False
    preview: bool = False
    cutout: bool = False
    backdrop: Backdrop | None = None
    lens: Lens | None = None
    boxes: bool = False
    min_area: int = 1

    def __post_init__(self) -> None:
        if self.soft not in (None, 8, 16):
            raise UsageError(f"--soft {self.soft}: expected 8 or 16, the bits of a pixel.")
        if self.min_area < 1:
            raise UsageError(f"--min-area {self.min_area}: expected a number of pixels from 1 on.")


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes
    ----------
    heads
        The network must have one of these.
    option
        What asks for it; "" where it is written of what the network happens to have.
    planes
        What it is made of, see ``Planes``.
    suffixes
        What follows a picture's name in each file; nothing where it is not wanted.
    write
        Writes the file of a number among these to a path.
    """

    heads: tuple[str, ...]
    option: str
    planes: tuple[str, ...]
    suffixes: Callable[[Outputs, Facts], Sequence[str]]
    write: Callable[[Planes, Outputs, int, Path], Any]


def _write_mask(planes: Planes, _outputs: Outputs, _number: int, path: Path) -> None:
    _save(draw_labels(_there(planes.labels), planes.facts.classes), path, _FAST)


def _write_soft(planes: Planes, outputs: Outputs, number: int, path: Path) -> None:
    codes = _there(planes.soft)[number]
    if outputs.soft == 8:
        codes = ((codes.astype(np.uint32) + 128) // 257).astype(np.uint8)
    _save(Image.fromarray(codes), path, _FAST)


def _write_depth(planes: Planes, _outputs: Outputs, _number: int, path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    for key, value in depth_facts(planes.facts).items():
        text.add_text(key, str(value))
    _save(Image.fromarray(_there(planes.codes)), path, _FAST, text)


def _write_mask_array(planes: Planes, _outputs: Outputs, _number: int, path: Path) -> None:
    _save_floats(planes.probability, planes.on_disk.get("probability"), path)


def _write_depth_array(planes: Planes, _outputs: Outputs, _number: int, path: Path) -> None:
    _save_floats(planes.depth, planes.on_disk.get("depth"), path)


def _write_preview(planes: Planes, _outputs: Outputs, _number: int, path: Path) -> None:
    _save(draw_preview(planes), path, _SMALL)


def _write_cutout(planes: Planes, _outputs: Outputs, _number: int, path: Path) -> None:
    alpha = Alpha(_there(planes.soft), planes.facts.thresholds)
    _save(cut_out(planes.image, alpha), path, _SMALL)


def _write_replaced(planes: Planes, outputs: Outputs, _number: int, path: Path) -> None:
    assert outputs.backdrop is not None
    alpha = Alpha(_there(planes.soft), planes.facts.thresholds)
    _save(put_before(planes.image, alpha, outputs.backdrop), path, _SMALL)


def _write_points(planes: Planes, outputs: Outputs, _number: int, path: Path) -> None:
    assert outputs.lens is not None
    facts = planes.facts
    comment = f"x right, y down, z ahead; unit: {facts.unit or 'not known'}. {note_kind(facts.kind, facts.unit)}"
    plain = comment.strip().encode("ascii", "replace").decode()
    write_ply(path, planes.image, _there(planes.codes), facts.scale, outputs.lens, plain)


def _soft_names(outputs: Outputs, facts: Facts) -> list[str]:
    if not outputs.soft:
        return []
    if len(facts.classes) <= 1:
        return ["_soft.png"]
    return [f"_soft_{_plain(name)}.png" for name in facts.classes]


KINDS: dict[str, Kind] = {
    "mask": Kind(("mask",), "", ("labels",), lambda o, _: [] if o.soft else ["_mask.png"], _write_mask),
    "soft": Kind(("mask",), "--soft", ("soft",), _soft_names, _write_soft),
    "depth": Kind(("depth",), "", ("codes",), lambda _o, _: ["_depth.png"], _write_depth),
    "mask_npy": Kind(("mask",), "", ("probability",), lambda o, _: ["_mask.npy"] if o.npy else [], _write_mask_array),
    "depth_npy": Kind(("depth",), "", ("depth",), lambda o, _: ["_depth.npy"] if o.npy else [], _write_depth_array),
    "preview": Kind(
        ("mask", "depth"), "", ("labels", "codes"), lambda o, _: ["_preview.png"] if o.preview else [], _write_preview
    ),
    "cutout": Kind(("mask",), "--cutout", ("soft",), lambda o, _: ["_cutout.png"] if o.cutout else [], _write_cutout),
    "replaced": Kind(
        ("mask",), "--replace", ("soft",), lambda o, _: ["_replaced.png"] if o.backdrop else [], _write_replaced
    ),
    "points": Kind(("depth",), "--ply", ("codes",), lambda o, _: [".ply"] if o.lens else [], _write_points),
}
BOX_PLANES = ("labels", "soft")  # what boxes, which have no file a picture, are made of


@dataclass(frozen=True)
class Plan:
    """What is written of every picture of one network: (suffix, writer), and the planes that takes."""

    files: tuple[tuple[str, Callable[[Planes, Path], Any]], ...]
    planes: frozenset[str]


def plan_outputs(outputs: Outputs, facts: Facts, heads: Sequence[str]) -> Plan:
    """Return what is written of each picture.

    Raises
    ------
    UsageError
        When something is asked for that the network does not predict.
    """
    files: list[tuple[str, Callable[[Planes, Path], Any]]] = []
    planes: set[str] = set()
    for kind in KINDS.values():
        suffixes = kind.suffixes(outputs, facts)
        if suffixes and not set(kind.heads) & set(heads):
            if kind.option:
                raise _not_predicted(kind.option, kind.heads[0], heads)
            continue
        planes.update(kind.planes if suffixes else ())
        files += [(suffix, _bound(kind, outputs, number)) for number, suffix in enumerate(suffixes)]
    if outputs.boxes:
        if "mask" not in heads:
            raise _not_predicted("--boxes", "mask", heads)
        planes.update(BOX_PLANES)
    if outputs.lens is not None:
        check_kind(facts.kind)
    return Plan(tuple(files), frozenset(planes))


def draw_labels(labels: np.ndarray, classes: Sequence[str]) -> Image.Image:
    """Return labels (H, W) as they are written: 0 and 255 of one class; of several their numbers, with a palette."""
    if len(classes) == 1:
        return Image.fromarray(labels * np.uint8(255))
    picture = Image.fromarray(labels)
    if len(classes) < 256:
        picture.putpalette([0, 0, 0, *class_colours(classes, len(classes)).ravel().tolist()])
    return picture


def depth_facts(facts: Facts) -> dict[str, Any]:
    """Return what turns the codes of a depth PNG into depth: code * scale, in unit."""
    return {"scale": facts.scale, "unit": facts.unit, "kind": facts.kind}


def _bound(kind: Kind, outputs: Outputs, number: int) -> Callable[[Planes, Path], Any]:
    return lambda planes, path: kind.write(planes, outputs, number, path)


def _not_predicted(option: str, head: str, heads: Sequence[str]) -> UsageError:
    return UsageError(f"{option} needs a {head}, and this network predicts {' and '.join(heads)} alone.")


def _plain(name: str) -> str:
    """Return a class's name as a part of a file's."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)


def _there(plane: np.ndarray | None) -> np.ndarray:
    assert plane is not None
    return plane


def _save_floats(plane: np.ndarray | None, spool: Spool | None, path: Path) -> None:
    if spool is not None:
        spool.save(path)
    else:
        plane = _there(plane)
        np.save(path, plane[0] if plane.ndim == 3 and len(plane) == 1 else plane)


def _save(picture: Image.Image, path: Path, level: int, text: PngImagePlugin.PngInfo | None = None) -> None:
    picture.save(path, "PNG", compress_level=level, pnginfo=text)
