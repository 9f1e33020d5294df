"""What a network says of one image."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from basrelief.errors import UsageError

if TYPE_CHECKING:
    from basrelief.inference.planes import Planes


@dataclass(frozen=True)
class Prediction:
    """What a network says of one image, at the image's own size.

    In a notebook it shows as ``preview()`` does.

    Attributes
    ----------
    mask
        bool (H, W) for one class, (K, H, W) for several; None without a mask head.
    probability
        float32, the same shape, in [0, 1].
    depth
        float32 (H, W) in ``depth_unit``; None without a depth head.
    classes
        Names of the K classes.
    depth_unit
        "" where the unit of the training data is not known.
    depth_kind
        "metric", "relative", "disparity"; "" where it is not known.
    image
        The image itself, uint8 (H, W, 3).
    thresholds
        Of each class, above which probability a pixel is mask; 0.5 where none are given.
    """

    mask: np.ndarray | None
    probability: np.ndarray | None
    depth: np.ndarray | None
    classes: tuple[str, ...]
    depth_unit: str
    depth_kind: str
    image: np.ndarray
    thresholds: tuple[float, ...] = ()

    def cutout(self) -> Image.Image:
        """Return the figure as RGBA, its transparency from the probability (of several classes, the highest).

        Raises
        ------
        UsageError
            When the network predicts no mask.
        """
        from basrelief.inference.cutout import cut_out

        return cut_out(self.image, self._alpha("cutout"))

    def replace(self, background: str | Path | Image.Image | tuple[int, int, int]) -> Image.Image:
        """Return the figure before another background, RGB.

        Parameters
        ----------
        background
            A colour (name, ``#rrggbb`` or three numbers), a picture (its file or a Pillow image), ``blur`` or
            ``blur:SIGMA`` in pixels.

        Raises
        ------
        UsageError
            When the network predicts no mask, or the background is none of these.
        """
        from basrelief.inference.cutout import parse_backdrop, put_before

        return put_before(self.image, self._alpha("replace"), parse_backdrop(background))

    def preview(self) -> Image.Image:
        """Return a picture to look at: depth in colours with its scale, or the image, with the masks' outlines."""
        from basrelief.inference.preview import draw_preview

        return draw_preview(self._planes("labels", "codes"))

    def points(
        self, *, fov: float | None = None, intrinsics: tuple[float, float, float, float] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels of known depth as points in space and their colours.

        Parameters
        ----------
        fov
            Horizontal field of view in degrees.
        intrinsics
            Instead of it (fx, fy, cx, cy) in pixels, the centre of the first pixel at (0, 0).

        Returns
        -------
        points, colours
            float32 (N, 3), x to the right, y down and z ahead, in ``depth_unit``; uint8 (N, 3).

        Raises
        ------
        UsageError
            When the network predicts no depth, or disparity; or the camera is not stated.
        """
        from basrelief.inference.points import check_kind, choose_lens, place_points

        if self.depth is None:
            raise UsageError("points: this network predicts no depth, which they are made of. Train one with depth.")
        check_kind(self.depth_kind)
        known = np.isfinite(self.depth) & (self.depth > 0)
        return place_points(self.depth, choose_lens(fov, intrinsics))[known], self.image[known]

    def boxes(self, *, min_area: int = 1) -> list[dict[str, Any]]:
        """Return the connected components of the mask as COCO annotations, see ``boxes.find_boxes``.

        Raises
        ------
        UsageError
            When the network predicts no mask.
        """
        from basrelief.inference.boxes import find_boxes

        planes = self._planes("labels", "soft")
        if planes.labels is None or planes.soft is None:
            raise UsageError("boxes: this network predicts no mask.")
        return find_boxes(planes.labels, planes.soft, min_area=min_area)

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.preview().save(file, "PNG")
        return file.getvalue()

    def _alpha(self, what: str) -> np.ndarray:
        from basrelief.inference.cutout import find_alpha

        planes = self._planes("soft")
        if planes.soft is None:
            raise UsageError(f"{what}: this network predicts no mask.")
        return find_alpha(planes.soft, planes.facts.thresholds)

    def _planes(self, *wanted: str) -> Planes:
        from basrelief.inference.planes import MOST, Facts, planes_of

        thresholds = self.thresholds or (0.5,) * len(self.classes)
        largest = 0.0 if self.depth is None else float(self.depth.max(initial=0))
        facts = Facts(self.classes, thresholds, (largest or 1.0) / MOST, self.depth_unit, self.depth_kind)
        return planes_of(self, facts, wanted)
