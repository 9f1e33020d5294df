"""Masks of several classes, plane by plane: the input with its boxes, each loss's prediction with its, and the planes.

What write-up D's figures showed of its networks: whether a figure is found at all, in which plane, and what else a
plane holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from basrelief.functional.colours import class_colours, class_names, colour_mask
from basrelief.functional.components import components
from basrelief.report.contents import Pictures
from basrelief.report.pictures import encode

IMAGES = 4  # a glance's worth: each takes a row for every loss
CLASSES = 10  # of more, those that the images shown have most of
SIDE = 128  # px, the longer side of a picture; larger ones are thinned
MOST_BOXES = 20  # of a class; a prediction of noise has hundreds
_SMALLEST = 0.001  # share of the pixels below which a predicted part has no box: of 64 x 64 it is 4 pixels
_UNKNOWN = 255


@dataclass(frozen=True)
class Box:
    """A box in pixels of the picture shown: its corner, width and height, the colour and the name of its class."""

    x: int
    y: int
    width: int
    height: int
    colour: str
    name: str


@dataclass(frozen=True)
class PlaneLine:
    """The truth (``loss`` None) or one loss: the combined picture with its boxes, and a plane a class, as data URIs."""

    loss: tuple[int, str] | None
    combined: str
    boxes: Sequence[Box]
    planes: Sequence[str]


@dataclass(frozen=True)
class PlaneImage:
    """One image: the line of the truth, which shows the input, and one for each loss."""

    id: str
    lines: Sequence[PlaneLine]


@dataclass(frozen=True)
class Planes:
    """The section, ready for the template. ``classes`` are (name, colour); ``left_out`` counts those not shown."""

    images: Sequence[PlaneImage]
    classes: Sequence[tuple[str, str]]
    left_out: int
    width: int
    height: int


def build_planes(pictures: Pictures, losses: Sequence[tuple[int, str]]) -> Planes | None:
    """Return the planes of a few images for the losses that predict masks; None with a single class.

    The images are those with the most classes, so that the choice does not depend on any prediction.

    Parameters
    ----------
    pictures
        Images, truth and predictions at the training resolution.
    losses
        (place in the study, name) in the order of the lines.
    """
    if pictures.mask is None or pictures.mask.shape[1] < 2:
        return None
    shown = [(index, name) for index, name in losses if "mask" in pictures.predictions.get(name, {})]
    step = -(-max(pictures.image.shape[1:3]) // SIDE)
    truth = pictures.mask[:, :, ::step, ::step]
    there = (truth == 1).any(axis=(2, 3))
    rows = np.argsort(-there.sum(axis=1), kind="stable")[:IMAGES]
    kept = np.sort(np.argsort(-there[rows].sum(axis=0), kind="stable")[:CLASSES])
    count = truth.shape[1]
    colours = class_colours(pictures.classes, count)
    named = [
        (str(name), f"#{bytes(colour.tolist()).hex()}")
        for name, colour in zip(class_names(pictures.classes, count), colours, strict=True)
    ]
    images = []
    for row in rows.tolist():
        known = truth[row]
        photo = encode(pictures.image[row, ::step, ::step], photo=True)
        own = np.where(known == _UNKNOWN, 128, (known == 1) * 255).astype(np.uint8)  # unknown is grey
        lines = [PlaneLine(None, photo, _boxes(known == 1, named, 1), [encode(own[k]) for k in kept])]
        for loss in shown:
            guess = pictures.predictions[loss[1]]["mask"][row, :, ::step, ::step]
            combined = encode(colour_mask(guess, colours, truth=False))
            labels = np.where(guess.max(axis=0) > 127, guess.argmax(axis=0) + 1, 0)  # the strongest, as is shown
            least = max(1, round(_SMALLEST * labels.size))
            found = _boxes(labels[None] == np.arange(1, count + 1)[:, None, None], named, least)
            lines.append(PlaneLine(loss, combined, found, [encode(guess[k]) for k in kept]))
        images.append(PlaneImage(pictures.ids[row], lines))
    height, width = truth.shape[2:]
    return Planes(images, [named[k] for k in kept], count - len(kept), width, height)


def _boxes(planes: np.ndarray, classes: Sequence[tuple[str, str]], least: int) -> list[Box]:
    """Return the boxes of each class's connected parts, bool (K, H, W), of at least so many pixels."""
    found = []
    for plane, (name, colour) in zip(planes, classes, strict=True):
        for (rows, columns), _ in components(plane, min_area=least, most=MOST_BOXES)[0]:
            size = (columns.stop - columns.start, rows.stop - rows.start)
            found.append(Box(columns.start, rows.start, *size, colour, name))
    return found
