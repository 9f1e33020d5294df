"""Using a trained network: any picture in, mask and depth out at the picture's own size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor

from basrelief.data.resize import resize_image
from basrelief.errors import UsageError
from basrelief.inference.hub import Shareable
from basrelief.inference.images import Picture, as_array, as_arrays
from basrelief.inference.network import Network, mirrored
from basrelief.inference.prediction import Prediction
from basrelief.inference.tiles import Answers, Grid, blend, enlarge, lay, parse_tile
from basrelief.inference.tiles import Tile as Tile

Threshold = float | Literal["best"]

BATCH = 16  # images that the network gets at once
OWN_SIZE = 0.75  # a network trained at this part of its images' own size, or more, knows their pixels, not the whole
MUCH_LARGER = 16  # times the area of the training images: shrunk as a whole, little of such an image is left
MANY_TILES = 1000  # a network needs so long for them that it is worth saying
_BOUNDED = ("sigmoid", "softmax")  # activations that end at 1


class Predictor(Shareable):
    """A trained network with what it needs to be used: resolution, activations, depth maximum.

    Made by ``basrelief.load_predictor``. The image is brought to the training resolution, and the result back to the
    image's own size, bilinearly; the mask is where the probability is above the threshold. A large image may be
    predicted in overlapping tiles instead, each as if it were an image. Several threads may use one predictor.

    Attributes
    ----------
    run
        The document of ``run.json``, or what an exported file carries of it.
    network
        What computes: see ``basrelief.inference.network``.
    resolution
        (height, width) that the network sees.
    thresholds
        Of each class, above which probability a pixel is mask.
    tile
        "auto", "none", or the longer side of a tile in pixels of the image; the other is as in the resolution.
        "auto": tiles of the training images' own size, where the network was trained at nearly that size and the
        image has more than twice their area; else the whole image is resized, as the training images were.
    """

    def __init__(
        self,
        run: Mapping[str, Any],
        network: Network,
        *,
        threshold: Threshold = 0.5,
        tile: Tile | str = "auto",
        mirror: bool = False,
    ) -> None:
        self.run = run
        self.network = mirrored(network) if mirror else network
        self.resolution = (int(run["resolution"][0]), int(run["resolution"][1]))
        self.thresholds = _thresholds(run, threshold)
        self.tile = parse_tile(tile)

    @property
    def takes_background(self) -> bool:
        """Whether the network wants the empty background beside the image."""
        return bool(self.run["background"])

    @overload
    def __call__(self, image: Picture, background: Picture | None = None) -> Prediction: ...

    @overload
    def __call__(
        self, image: Sequence[Picture], background: Picture | Sequence[Picture] | None = None
    ) -> list[Prediction]: ...

    def __call__(self, image: Any, background: Any = None) -> Prediction | list[Prediction]:
        """Predict one image, or several.

        Parameters
        ----------
        image
            A Pillow image; a numpy array (H, W) or (H, W, C) of uint8, uint16 or floats in [0, 1]; a torch tensor
            (H, W) or (C, H, W) of uint8 or floats in [0, 1]. C is 1, 3, or 4 with transparency, which is laid on black.
            Several: a list or tuple of these, of any sizes, or an array or tensor with one more axis in front.
        background
            The empty scene of the image, for networks that were trained with one (others ignore it); of any size. For
            several images one for all, or as many.

        Returns
        -------
        Prediction
            At the image's own size; for several images a list of them.

        Raises
        ------
        UsageError
            When the background is missing, their number is another, or an image has another shape, type or range.
        """
        several = as_arrays(image)
        if several is None:
            one = as_array(image)
            return self._predict([one], self._backgrounds(background, None))[0]
        return self._predict(several, self._backgrounds(background, len(several)))

    def bands(self, image: Picture, background: Picture | None = None) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
        """Yield the result of one image in bands of rows from top to bottom, for images too large for memory.

        Parameters
        ----------
        image, background
            As for a call.

        Yields
        ------
        rows, planes
            Which rows these are, and float32 "mask" (K, rows, W), the probability, and "depth" (1, rows, W) in the
            run's unit, each where the network was trained on it. The numbers are those of a call.
        """
        picture = as_array(image)
        backgrounds = self._backgrounds(background, None)
        return self._bands(picture, backgrounds[0] if backgrounds else None)

    def tiled(self, size: tuple[int, int]) -> bool:
        """Return whether an image of this (height, width) is predicted in tiles."""
        return self._grid(size).count > 1

    def advice(self, size: tuple[int, int]) -> str:
        """Return what to try for an image of this (height, width), a sentence; "" where there is nothing to say."""
        own = self.run.get("image_size")
        if self.tile != "auto" or not own:
            return ""
        count = self._grid(size).count
        if count > MANY_TILES:
            return (
                f"An image of {size[0]}x{size[1]} pixels is predicted in {count:,} tiles, since the network was "
                f"trained on images of {own[0]}x{own[1]}. If it is not many such images in one, --tile none resizes "
                "it as a whole, and is quick."
            )
        if count > 1:
            return ""
        if size[0] * size[1] <= MUCH_LARGER * own[0] * own[1]:
            return ""
        return (
            f"An image of {size[0]}x{size[1]} pixels is resized to {self.resolution[0]}x{self.resolution[1]} as a "
            f"whole; the network was trained on images of {own[0]}x{own[1]}. If they show things at the same scale, "
            f"--tile {max(own)} predicts it in tiles."
        )

    def shrink(self, image: np.ndarray) -> np.ndarray:
        """Bring an image to the resolution that the network sees, uint8 (h, w, 3)."""
        return resize_image(image, self.resolution)

    def finish(self, heads: Mapping[str, Tensor], image: np.ndarray) -> Prediction:
        """Bring what the network says of one whole image, (C, h, w) for each head, to the image's own size."""
        size = (image.shape[0], image.shape[1])
        planes = {head: enlarge(pred, size) for head, pred in heads.items() if head in self.run["targets"]}
        return self._prediction(self._in_unit(planes), image)

    def _predict(self, images: Sequence[np.ndarray], backgrounds: Sequence[np.ndarray] | None) -> list[Prediction]:
        """Predict images with a background for all, for each, or none."""
        behind = list(backgrounds) * (len(images) // len(backgrounds)) if backgrounds else None
        found: dict[int, Prediction] = {}
        whole = []
        for number, image in enumerate(images):
            if self.tiled((image.shape[0], image.shape[1])):
                parts = [planes for _, planes in self._bands(image, behind[number] if behind else None)]
                joined = {head: np.concatenate([part[head] for part in parts], axis=1) for head in parts[0]}
                found[number] = self._prediction(joined, image)
            else:
                whole.append(number)
        for start in range(0, len(whole), BATCH):
            numbers = whole[start : start + BATCH]
            heads = self._answer([images[n] for n in numbers], [behind[n] for n in numbers] if behind else None)
            for place, number in enumerate(numbers):
                found[number] = self.finish({head: pred[place] for head, pred in heads.items()}, images[number])
        return [found[number] for number in range(len(images))]

    def _answer(self, images: Sequence[np.ndarray], backgrounds: Sequence[np.ndarray] | None) -> Answers:
        """Return what the network says of some images, at its resolution, about its targets."""
        small = torch.from_numpy(np.stack([self.shrink(image) for image in images]))
        behind = None
        if backgrounds is not None:
            shrunk = {id(one): self.shrink(one) for one in backgrounds}  # often one for all
            behind = torch.from_numpy(np.stack([shrunk[id(one)] for one in backgrounds]))
        return {head: pred for head, pred in self.network(small, behind).items() if head in self.run["targets"]}

    def _bands(self, image: np.ndarray, background: np.ndarray | None) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
        grid = self._grid((image.shape[0], image.shape[1]))
        if background is not None and grid.count > 1:  # tiles are cut out of both at the same places
            background = resize_image(background, grid.size)

        def answer(places: Sequence[tuple[int, int]]) -> Answers:
            parts = []
            for start in range(0, len(places), BATCH):
                some = places[start : start + BATCH]
                behind = None if background is None else [background]
                if behind and grid.count > 1:  # one that is resized as a whole may have a size of its own
                    behind = [_cut(behind[0], grid, place) for place in some]
                parts.append(self._answer([_cut(image, grid, place) for place in some], behind))
            return {head: torch.cat([part[head] for part in parts]) for head in parts[0]}

        for rows, planes in blend(grid, answer):
            if grid.count > 1:
                for head, plane in planes.items():  # shares add up to 1 but for rounding
                    if self.run["activations"].get(head, "sigmoid") in _BOUNDED:
                        plane.clamp_(max=1)
            yield rows, self._in_unit(planes)

    def _grid(self, size: tuple[int, int]) -> Grid:
        """Return the tiles that an image of this size is predicted in; one, if it is resized as a whole."""
        if isinstance(self.tile, int):
            longer = max(self.resolution)
            height, width = (max(1, round(self.tile * side / longer)) for side in self.resolution)
            return lay(size, (height, width))
        own = self.run.get("image_size")
        if self.tile == "auto" and own and size[0] * size[1] > 2 * own[0] * own[1]:
            height, width = own
            if self.resolution[0] >= OWN_SIZE * height and self.resolution[1] >= OWN_SIZE * width:
                return lay(size, (height, width))
        return lay(size, size)

    def _in_unit(self, planes: Answers) -> dict[str, np.ndarray]:
        found = {head: plane.numpy() for head, plane in planes.items()}
        if "depth" in found:
            found["depth"] = found["depth"] * np.float32(self.run["depth_max"])
        return found

    def _prediction(self, planes: Mapping[str, np.ndarray], image: np.ndarray) -> Prediction:
        probability = planes.get("mask")
        mask = None
        if probability is not None:
            mask = probability > np.asarray(self.thresholds, np.float32)[:, None, None]
            if len(probability) == 1:
                probability, mask = probability[0], mask[0]
        return Prediction(
            mask=mask,
            probability=probability,
            depth=planes["depth"][0] if "depth" in planes else None,
            classes=tuple(self.run["classes"]),
            depth_unit=self.run["depth_unit"] or "",
            depth_kind=self.run["depth_kind"] or "",
            image=image,
            thresholds=self.thresholds,
        )

    def _backgrounds(self, background: Any, count: int | None) -> list[np.ndarray] | None:
        """Return the backgrounds as arrays, one or ``count``; None where the network takes none."""
        if not self.takes_background:
            return None
        if background is None:
            raise UsageError("This network was trained with backgrounds; it needs the empty scene beside the image.")
        several = as_arrays(background, "background")
        if several is None:
            return [as_array(background, "background")]
        if len(several) != count:
            images = "1 image" if count is None else f"{count} images"
            raise UsageError(f"{len(several)} backgrounds for {images}: give one for all, or one for each.")
        return several


def _cut(image: np.ndarray, grid: Grid, place: tuple[int, int]) -> np.ndarray:
    top, left = place
    return image[top : top + grid.tile[0], left : left + grid.tile[1]]


def _thresholds(run: Mapping[str, Any], threshold: Threshold) -> tuple[float, ...]:
    if threshold != "best":
        try:
            value = float(threshold)
        except (TypeError, ValueError):
            value = float("nan")
        if not 0 <= value <= 1:
            raise UsageError(f"--threshold {threshold}: expected a probability between 0 and 1, or best.")
        return (value,) * len(run["classes"])
    if "mask" not in run["targets"]:
        return ()
    stored = run.get("thresholds")
    if stored is None:
        raise UsageError(
            "--threshold best: this run holds none, since it was trained before they were stored. Give a number."
        )
    return tuple(float(value) for value in stored["best"])
