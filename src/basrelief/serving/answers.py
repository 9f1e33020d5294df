"""What the API answers with: pictures as PNG files, one JSON document, or a ZIP archive of all of it."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image, PngImagePlugin

from basrelief.inference.cutout import cut_out, find_alpha
from basrelief.inference.kinds import depth_facts, draw_labels
from basrelief.inference.planes import Planes
from basrelief.inference.preview import draw_preview
from basrelief.serving.components import find_largest
from basrelief.serving.limits import RequestError

Kind = Literal["mask", "soft", "depth", "cutout", "preview"]
Output = Literal["json", "mask", "soft", "depth", "cutout", "preview", "zip"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_BOXES = 100  # the largest ones; a mask of noise has millions
_HEADS: dict[Kind, tuple[str, ...]] = {
    "mask": ("mask",), "soft": ("mask",), "depth": ("depth",), "cutout": ("mask",), "preview": ("mask", "depth"),
}  # fmt: skip
_PLANES: dict[str, tuple[str, ...]] = {
    "mask": ("labels",), "soft": ("soft",), "depth": ("codes",), "cutout": ("soft",), "preview": ("labels", "codes"),
    "json": ("labels", "soft", "codes"),
}  # fmt: skip


def kinds_of(targets: Sequence[str]) -> tuple[Kind, ...]:
    """Return the pictures that a network with these targets gives."""
    return tuple(kind for kind in KINDS if set(_HEADS[kind]) & set(targets))


def check_kinds(wanted: Sequence[str], targets: Sequence[str], option: str) -> None:
    """Raise RequestError (422) for pictures that a network with these targets does not give."""
    known = kinds_of(targets)
    for kind in wanted:
        if kind not in known:
            raise RequestError(
                422,
                f"{option}={kind[:40]!a}: this network predicts {' and '.join(targets)}, so there are: "
                f"{', '.join(known)}.",
            )


def planes_for(output: Output, include: Sequence[Kind] = ()) -> set[str]:
    """Return the names of the planes (see ``Planes``) that an answer is made of."""
    return {name for kind in ("json" if output == "zip" else output, *include) for name in _PLANES[kind]}


def picture(planes: Planes, kind: Kind) -> bytes:
    """Return a PNG file, of the image's own size but for the preview.

    They are the files that ``basrelief predict`` writes, with one difference: ``soft`` is one file for several classes,
    the largest of their probabilities.
    """
    text = PngImagePlugin.PngInfo()
    if kind == "mask":
        assert planes.labels is not None
        image = draw_labels(planes.labels, planes.facts.classes)
    elif kind == "soft":
        assert planes.soft is not None
        image = Image.fromarray(planes.soft.max(axis=0))
    elif kind == "depth":
        assert planes.codes is not None
        image = Image.fromarray(planes.codes)
        for key, value in depth_facts(planes.facts).items():
            text.add_text(key, str(value))
    elif kind == "cutout":
        assert planes.soft is not None
        image = cut_out(planes.image, find_alpha(planes.soft, planes.facts.thresholds))
    else:
        image = draw_preview(planes)
    stream = io.BytesIO()
    image.save(stream, "PNG", pnginfo=text, compress_level=1)
    return stream.getvalue()


def document(planes: Planes, include: Sequence[Kind] = ()) -> dict[str, Any]:
    """Return what the JSON answer holds of a prediction."""
    height, width = planes.image.shape[:2]
    classes = planes.facts.classes
    found: dict[str, Any] = {"width": width, "height": height, "classes": list(classes)}
    if planes.labels is not None and planes.soft is not None:
        areas = np.bincount(planes.labels.ravel(), minlength=len(classes) + 1)[1:].tolist()
        boxes, number = find_largest(planes.labels, planes.soft, classes, MOST_BOXES)
        found["thresholds"] = dict(zip(classes, planes.facts.thresholds, strict=True))
        found["areas"] = dict(zip(classes, areas, strict=True))
        found["shares"] = {name: area / (height * width) for name, area in found["areas"].items()}
        found["boxes"], found["boxes_found"] = boxes, number
    if planes.codes is not None:
        facts = depth_facts(planes.facts)
        values = {"min": planes.codes.min(), "max": planes.codes.max(), "mean": planes.codes.mean(dtype=np.float64)}
        found["depth"] = {**facts, **{name: float(value) * facts["scale"] for name, value in values.items()}}
    found["images"] = {kind: base64.b64encode(picture(planes, kind)).decode("ascii") for kind in include}
    return found


def archive(planes: Planes, kinds: Sequence[Kind]) -> bytes:
    """Return a ZIP archive of the pictures and ``result.json``."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:  # what it holds is packed already
        for kind in kinds:
            file.writestr(f"{kind}.png", picture(planes, kind))
        file.writestr("result.json", to_json(document(planes)))
    return stream.getvalue()


def to_json(found: Mapping[str, Any]) -> bytes:
    """Return a document as JSON; NaN is none."""
    return json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
