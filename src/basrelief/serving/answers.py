"""What the API answers with: a prediction as PNG files, as one JSON document, or as a ZIP archive of all of it."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image, PngImagePlugin

from basrelief.functional.colours import class_colours, colour_depth, depth_palette, depth_range
from basrelief.inference.prediction import Prediction
from basrelief.serving.components import find_largest
from basrelief.serving.limits import RequestError

Kind = Literal["mask", "soft", "depth", "cutout", "preview"]
Output = Literal["json", "mask", "soft", "depth", "cutout", "preview", "zip"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_BOXES = 100  # the largest ones; a mask of noise has millions
_NEEDS = {"mask": "mask", "soft": "mask", "cutout": "mask", "depth": "depth"}  # kind -> target; a preview shows any


def kinds_of(targets: Sequence[str]) -> tuple[Kind, ...]:
    """Return the pictures that a network with these targets gives."""
    return tuple(kind for kind in KINDS if _NEEDS.get(kind, targets[0]) in targets)


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


def at_threshold(prediction: Prediction, threshold: float | None) -> Prediction:
    """Return a prediction with the mask at another threshold, of all classes."""
    if threshold is None or prediction.probability is None:
        return prediction
    return dataclasses.replace(prediction, mask=prediction.probability > np.float32(threshold))


def picture(prediction: Prediction, kind: Kind, depth_max: float) -> bytes:
    """Return a PNG file of a prediction, at the image's own size.

    ``mask``: 0 or 255; of several classes, class numbers with a palette, 0 for none. ``soft``: probability times 65535,
    16 bits; of several classes, the largest. ``depth``: 16 bits, value times the text ``scale`` is depth. ``cutout``:
    the image with the probability as its transparency. ``preview``: for looking at.
    """
    text = PngImagePlugin.PngInfo()
    if kind == "preview":
        image = _preview(prediction)
    elif kind == "cutout":
        image = _cutout(prediction)
    elif kind == "depth":
        assert prediction.depth is not None
        codes = np.rint(prediction.depth.clip(0) * np.float32(65535 / depth_max)).clip(0, 65535)
        image = Image.fromarray(codes.astype(np.uint16))
        for key, value in {
            "scale": depth_max / 65535, "unit": prediction.depth_unit, "kind": prediction.depth_kind,
        }.items():  # fmt: skip
            text.add_text(key, str(value))
    elif kind == "soft":
        assert prediction.probability is not None
        most = prediction.probability if prediction.probability.ndim == 2 else prediction.probability.max(axis=0)
        image = Image.fromarray(np.rint(most * np.float32(65535)).astype(np.uint16))
    else:
        image = _labels(prediction)
    stream = io.BytesIO()
    image.save(stream, "PNG", pnginfo=text, compress_level=1)
    return stream.getvalue()


def _labels(prediction: Prediction) -> Image.Image:
    assert prediction.mask is not None
    if prediction.mask.ndim == 2:
        return Image.fromarray(prediction.mask.astype(np.uint8) * 255)
    assert prediction.probability is not None
    best = np.where(prediction.mask, prediction.probability, -1).argmax(axis=0)
    image = Image.fromarray(np.where(prediction.mask.any(axis=0), best + 1, 0).astype(np.uint8))
    colours = class_colours(prediction.classes, len(prediction.classes))
    image.putpalette([0, 0, 0, *colours.ravel().tolist()])
    return image


def _cutout(prediction: Prediction) -> Image.Image:
    assert prediction.mask is not None
    inside = prediction.mask.reshape(-1, *prediction.image.shape[:2]).any(axis=0)
    return Image.fromarray(np.dstack([prediction.image * inside[..., None], inside.astype(np.uint8) * 255]))


def _preview(prediction: Prediction) -> Image.Image:
    """Return the image with the mask's colours over it, and beside it depth."""
    image = Image.fromarray(prediction.image)
    parts = []
    if prediction.mask is not None:
        labels = _labels(prediction)
        inside: np.ndarray = np.asarray(labels, np.uint8) > 0
        if labels.mode != "P":
            colour = class_colours(prediction.classes, 1)[0].tolist()
            labels = Image.new("RGB", image.size, tuple(colour))
        parts.append(Image.composite(Image.blend(image, labels.convert("RGB"), 0.55), image, Image.fromarray(inside)))
    if prediction.depth is not None:
        places = colour_depth(prediction.depth, *depth_range([prediction.depth]))
        parts.append(Image.fromarray(depth_palette()[places]))
    whole = Image.new("RGB", (image.width * len(parts), image.height))
    for place, part in enumerate(parts):
        whole.paste(part, (place * image.width, 0))
    return whole


def document(prediction: Prediction, include: Sequence[Kind], depth_max: float) -> dict[str, Any]:
    """Return what the JSON answer holds of a prediction."""
    height, width = prediction.image.shape[:2]
    found: dict[str, Any] = {"width": width, "height": height, "classes": list(prediction.classes)}
    if prediction.mask is not None:
        planes: np.ndarray = prediction.mask.reshape(-1, height, width)
        areas = [int(plane.sum()) for plane in planes]
        soft = np.asarray(prediction.probability).reshape(planes.shape)
        boxes, number = find_largest(planes, soft, prediction.classes, MOST_BOXES)
        found["areas"] = dict(zip(prediction.classes, areas, strict=True))
        found["shares"] = {name: area / (height * width) for name, area in found["areas"].items()}
        found["boxes"] = boxes
        found["boxes_found"] = number
    if prediction.depth is not None:
        found["depth"] = {
            "unit": prediction.depth_unit,
            "kind": prediction.depth_kind,
            "min": float(prediction.depth.min()),
            "max": float(prediction.depth.max()),
            "mean": float(prediction.depth.mean(dtype=np.float64)),
            "scale": depth_max / 65535,
        }
    found["images"] = {kind: base64.b64encode(picture(prediction, kind, depth_max)).decode("ascii") for kind in include}
    return found


def archive(prediction: Prediction, kinds: Sequence[Kind], depth_max: float) -> bytes:
    """Return a ZIP archive of the pictures and ``result.json``."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:  # what it holds is packed already
        for kind in kinds:
            file.writestr(f"{kind}.png", picture(prediction, kind, depth_max))
        file.writestr("result.json", to_json(document(prediction, (), depth_max)))
    return stream.getvalue()


def to_json(found: Mapping[str, Any]) -> bytes:
    """Return a document as JSON; NaN is none."""
    return json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
