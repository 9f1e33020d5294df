"""Augmentation of whole samples: every plane moves with the others, and keeps its type.

A batch is augmented where it lies, after it was made float. All geometry is put together into one map of positions and
sampled once: image and background bilinear, masks, depth and validity by the nearest pixel, so that masks stay binary
and depth of two surfaces never mixes. Colour changes image and background alike. A new step is a function, a line here,
and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from basrelief.augment.colour import ColourMap, brightness, contrast, grey, hue, rgb_shift, saturation
from basrelief.augment.expression import NONE, Step, read_steps
from basrelief.augment.filter import Cover, blur, cutout, noise
from basrelief.augment.geometry import compose, crop, elastic, flip, pad, rotate, scale, shift, turn
from basrelief.augment.jpeg import jpeg
from basrelief.augment.resample import PICTURES, move_batch
from basrelief.augment.spec import AugmentationSpec, Draws, Kind
from basrelief.batch import Batch
from basrelief.errors import unknown_name
from basrelief.seeding import stream

AUGMENTATIONS: dict[str, AugmentationSpec] = {
    "flip": AugmentationSpec(flip, "geometry", 0.5, "x -> -x", "left becomes right"),
    "turn": AugmentationSpec(turn, "geometry", 1.0, "a -> a + k·90°", "by quarters, exactly"),
    "rotate": AugmentationSpec(rotate, "geometry", 1.0, "a -> a ± degrees", "about the centre"),
    "scale": AugmentationSpec(scale, "geometry", 1.0, "x -> s·x", "zoom about the centre, in or out"),
    "shift": AugmentationSpec(shift, "geometry", 1.0, "x -> x ± share·width", "sideways, up and down"),
    "crop": AugmentationSpec(crop, "geometry", 1.0, "x -> (x - c)/side", "a random window, enlarged to full size"),
    "pad": AugmentationSpec(
        pad, "geometry", 1.0, "x -> side·x + c", "shrunk, at a random place, its reflection around it"
    ),
    "elastic": AugmentationSpec(
        elastic,
        "geometry",
        0.5,
        "x -> x + B-spline(x)",
        "bent smoothly, never folded",
        "Rueckert et al., IEEE TMI 18(8), 1999; bound of Choi and Lee, Graphical Models 62, 2000",
    ),
    "brightness": AugmentationSpec(brightness, "colour", 1.0, "f·v", "times a factor"),
    "contrast": AugmentationSpec(contrast, "colour", 1.0, "0.5 + f·(v - 0.5)", "about middle grey"),
    "saturation": AugmentationSpec(
        saturation, "colour", 1.0, "Y + f·(v - Y)", "about each pixel's luma", "luma Y of ITU-R BT.601"
    ),
    "hue": AugmentationSpec(hue, "colour", 1.0, "T⁻¹·R(a)·T·v", "chroma turned, luma kept", "T: NTSC's YIQ, FCC 1953"),
    "rgb_shift": AugmentationSpec(rgb_shift, "colour", 1.0, "v + (r, g, b)", "an offset for each channel"),
    "grey": AugmentationSpec(grey, "colour", 0.1, "Y", "colours replaced by luma", "luma Y of ITU-R BT.601"),
    "blur": AugmentationSpec(blur, "colour", 0.5, "v * Gaussian(σ)", "out of focus"),
    "noise": AugmentationSpec(noise, "colour", 0.5, "v + σ·n", "a sensor's noise"),
    "jpeg": AugmentationSpec(
        jpeg,
        "colour",
        0.5,
        "DCT⁻¹(q·round(DCT(v)/q))",
        "compressed and read back",
        "ITU-T T.81, Annex K; quality as in the IJG library; JFIF 1.02",
    ),
    "cutout": AugmentationSpec(
        cutout,
        "cover",
        0.5,
        "fill in the holes",
        "parts of the inputs hidden",
        "DeVries and Taylor, arXiv:1708.04552, 2017",
    ),
}
_DEPTH_KINDS = ("metric", "relative", "disparity")


def parse_augment(text: str) -> Augment:
    """Read augmentation as users write it.

    Parameters
    ----------
    text
        Names of ``AUGMENTATIONS`` with + between them, each at most once, with options in call form:
        ``"flip + rotate(degrees=10) + brightness(0.2) + cutout(size=0.3)"``. Options may stand without their names,
        in the table's order. Every step has ``p``, the probability that a sample gets it; every colour step has
        ``apart``, to draw for image and background separately. ``"none"`` or nothing: no augmentation.

    Raises
    ------
    UsageError
        Showing the text with a caret below the fault: an unknown step or option with the nearest known one, a value
        out of range with what is expected.

    Examples
    --------
    >>> str(parse_augment("rotate(degrees=10)+brightness(.3) + flip"))
    'rotate + brightness(amount=0.3) + flip'
    """
    return Augment(read_steps(text, AUGMENTATIONS))


@dataclass(frozen=True)
class Augment:
    """What is done to every batch of training. ``str`` gives the text that ``parse_augment`` reads back.

    Geometry comes first, then colour, then what covers; within each, the steps follow as written (``elastic`` after
    other geometry).
    """

    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        return " + ".join(map(str, self.steps)) or NONE

    @torch.no_grad()
    def __call__(self, batch: Batch, generator: torch.Generator, *, depth_kind: str | None = None) -> Batch:
        """Return an augmented batch; the one given stays as it is, and planes that do not change are shared with it.

        Parameters
        ----------
        batch
            Float planes on any device.
        generator
            Of the CPU. One number is drawn from it, and every step draws from its own stream of that number: what a
            sample gets depends neither on the planes that are there nor on other steps, so that trials with other
            targets see the same.
        depth_kind
            "metric": a zoom by s brings everything s times nearer, so depth is divided by s; "disparity": times s.
            What would exceed 1, the run's maximum, becomes unknown, and ``depth_valid`` is there whenever a step may
            zoom. "relative" or None: depth is left as it is.

        Raises
        ------
        UsageError
            For an unknown kind of depth.
        """
        if depth_kind is not None and depth_kind not in _DEPTH_KINDS:
            raise unknown_name("kind of depth", depth_kind, _DEPTH_KINDS)
        if not self.steps:
            return batch
        seed = int(torch.randint(2**63 - 1, (), generator=generator))
        count, _, height, width = batch.image.shape

        def draw(step: Step, plane: str = "") -> Draws:
            p = dict(step.options).get("p", AUGMENTATIONS[step.name].p)
            return Draws(stream(seed, f"augment {step.name} {plane}"), count, height, width, p)

        moves = [(draws := draw(step), _prepared(step, draws)) for step in self._of("geometry")]
        if moves:
            batch = move_batch(batch, compose(moves), depth_kind)
        changes: dict[str, list[Change]] = {plane: [] for plane in PICTURES}
        for step in self._of("colour"):
            together: Change = _prepared(step, draw(step))
            apart = dict(step.options).get("apart", False)
            changes["image"].append(together)
            changes["background"].append(_prepared(step, draw(step, "background")) if apart else together)
        covers: list[Cover] = [_prepared(step, draw(step)) for step in self._of("cover")]
        hidden = [(cover, cover.covered(batch.image.device)) for cover in covers]

        def finish(picture: Tensor, plane: str) -> Tensor:
            if changes[plane]:
                for change in _merged(changes[plane]):
                    picture = change(picture)
                picture = picture.clamp(0, 1) if picture is batch[plane] else picture.clamp_(0, 1)
            for cover, covered in hidden:
                picture = picture.masked_fill(covered, cover.fill)
            return picture

        pictures = {plane: finish(batch[plane], plane) for plane in PICTURES if plane in batch}
        return _without(replace(batch, **pictures), [covered for cover, covered in hidden if cover.targets])

    def _of(self, kind: Kind) -> list[Step]:
        return [step for step in self.steps if AUGMENTATIONS[step.name].kind == kind]


Change = Callable[[Tensor], Tensor]


def _prepared(step: Step, draws: Draws) -> Any:  # what it is depends on the step's kind
    options = {name: value for name, value in step.options if name not in ("p", "apart")}
    return AUGMENTATIONS[step.name].function(draws, **options)


def _merged(changes: list[Change]) -> list[Change]:
    """Return the same changes, with colour maps that follow each other put together."""
    merged: list[Change] = []
    for change in changes:
        if merged and isinstance(change, ColourMap) and isinstance(last := merged[-1], ColourMap):
            merged[-1] = last.then(change)
        else:
            merged.append(change)
    return merged


def _without(batch: Batch, holes: list[Tensor]) -> Batch:
    """Return the batch with mask and depth unknown in ``holes``."""
    for covered in holes:
        for target in ("mask", "depth"):
            if target in batch:
                known = ~covered if f"{target}_valid" not in batch else batch[f"{target}_valid"] & ~covered
                batch = replace(batch, **{f"{target}_valid": known})
    return batch
