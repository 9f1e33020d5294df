"""What answers requests: a network, what a request may take, and what runs its predictions."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from basrelief.inference.planes import Band, Planes, collect, facts_of
from basrelief.inference.prediction import Prediction
from basrelief.inference.predictor import Predictor
from basrelief.serving.answers import kinds_of
from basrelief.serving.limits import Limits, RequestError
from basrelief.serving.reading import FORMATS, read_upload
from basrelief.serving.uploads import Uploads
from basrelief.serving.work import Work


@dataclass(frozen=True)
class Service:
    """What answers requests.

    Attributes
    ----------
    predictor, limits
        The network, and what a request may take.
    work
        What runs predictions.
    uploads
        What takes files in.
    title
        The network's name, for people.
    """

    predictor: Predictor
    limits: Limits
    work: Work
    uploads: Uploads
    title: str

    def predict(self, image: bytes | Path, background: bytes | Path | None) -> Prediction:
        """Read what was uploaded and predict it; for a thread of ``work``."""
        return self.predictor(*self._read(image, background))

    def planes(
        self,
        image: bytes | Path,
        background: bytes | Path | None,
        wanted: Collection[str],
        *,
        threshold: float | tuple[float, ...] | None = None,
        gone: threading.Event | None = None,
    ) -> Planes:
        """Return the wanted planes of an upload, see ``Planes``; for a thread of ``work``.

        Parameters
        ----------
        image, background
            Files, or where they lie.
        wanted
            Names of planes.
        threshold
            Of all classes, or one a class; the predictor's own if not given.
        gone
            Set when nobody waits any more: a large picture in tiles is then given up between two rows of them.
        """
        facts = facts_of(self.predictor)
        if threshold is not None:
            several = threshold if isinstance(threshold, tuple) else (threshold,) * len(facts.classes)
            facts = replace(facts, thresholds=several)
        array, behind = self._read(image, background)
        bands = self.predictor.bands(array, behind)
        return collect(bands if gone is None else _unless(gone, bands), array, facts, wanted)

    def _read(self, image: bytes | Path, background: bytes | Path | None) -> tuple[np.ndarray, np.ndarray | None]:
        behind = None if background is None else read_upload(background, self.limits, "background")
        return read_upload(image, self.limits), behind

    def facts(self) -> dict[str, Any]:
        """Return what ``/api/info`` tells: of the network, not of where it lies."""
        run, limits = self.predictor.run, self.limits
        return {
            "basrelief": metadata.version("basrelief"),
            "title": self.title,
            "network": run["network"],
            "resolution": list(self.predictor.resolution),
            "targets": list(run["targets"]),
            "classes": list(run["classes"]),
            "thresholds": list(self.predictor.thresholds),
            "takes_background": self.predictor.takes_background,
            "depth_unit": run["depth_unit"] or "",
            "depth_kind": run["depth_kind"] or "",
            "outputs": ["json", *kinds_of(tuple(run["targets"])), "zip"],
            "formats": list(FORMATS),
            "limits": {
                "file_bytes": limits.max_bytes,
                "pixels": limits.max_pixels,
                "queue": limits.queue,
                "seconds": limits.seconds,
            },
            "versions": {"torch": str(torch.__version__), "numpy": np.__version__},
        }


def _unless(gone: threading.Event, bands: Iterable[Band]) -> Iterator[Band]:
    for band in bands:
        if gone.is_set():
            raise RequestError(499, "The client has gone.")
        yield band
