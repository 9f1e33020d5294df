"""What happens on the page: an image comes, the threshold moves, a class is chosen, the files are asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from basrelief.errors import BasreliefError
from basrelief.functional.colours import class_colours
from basrelief.inference.planes import Planes
from basrelief.serving import page_words as words
from basrelief.serving.answers import archive, kinds_of, planes_for
from basrelief.serving.page_files import Shelf
from basrelief.serving.page_layout import Parts, class_choices
from basrelief.serving.page_pictures import draw_cutout, draw_depth, draw_overlay, find_cutout, label_map
from basrelief.serving.page_results import Result, Results, Visit, small_result
from basrelief.serving.service import Service

T = TypeVar("T")
LOG = logging.getLogger(__name__)
GONE = "This result is no longer kept. Drop the image once more."
LONGEST_NAME = 80  # letters of a file's name that its download keeps


class Actions:
    """What Gradio calls. Each returns what its parts are to show: part -> value.

    Parameters
    ----------
    gradio
        The package.
    service
        The network, its queue and limits.
    parts
        Of the page.
    shelf
        Where files lie.
    """

    def __init__(self, gradio: Any, service: Service, parts: Parts, shelf: Shelf) -> None:
        self._gradio = gradio
        self._service = service
        self._parts = parts
        self._shelf = shelf
        self._results = Results()
        self._run = service.predictor.run
        self._choices = class_choices(self._run)
        self._colours = class_colours(self._run["classes"], len(self._run["classes"]))

    async def predict(self, *given: Any) -> dict[Any, Any]:
        """Predict what was uploaded. Given are the files, as Gradio describes them, the visit and the class."""
        *uploads, visit, chosen = given
        there = [bool(upload and upload.get("path")) for upload in uploads]
        self._results.drop(visit.key)
        visit = Visit(None, visit.levels)
        if not all(there):
            asked = words.invitation(self._service.limits, len(uploads) > 1, has_image=there[0], has_other=any(there))
            return self._show(None, visit, chosen, asked)
        files = tuple(Path(upload["path"]) for upload in uploads)
        if not all(file.exists() for file in files):
            return self._show(None, visit, chosen, words.notice(GONE))
        name = _plain(Path(uploads[0].get("orig_name") or "image").stem)
        try:
            result = await self._compute(
                files, lambda found: small_result(found, files, name), ("probability", "depth")
            )
        except Exception as error:
            return self._show(None, visit, chosen, _failure(error))
        return self._show(result, Visit(self._results.put(result), visit.levels), chosen)

    def move(self, value: float, chosen: str, visit: Visit) -> dict[Any, Any]:
        """Move the threshold of the chosen class, or of all; the network has nothing to do with it."""
        only = self._choices.get(chosen)
        levels = tuple(value if only in (None, number) else old for number, old in enumerate(visit.levels))
        return self._look(chosen, Visit(visit.key, levels))

    def choose(self, chosen: str, visit: Visit) -> dict[Any, Any]:
        """Show one class, or all, and its threshold."""
        only = self._choices.get(chosen)
        value = np.mean(visit.levels) if only is None else visit.levels[only]
        return self._look(chosen, visit) | {self._parts.level: round(float(value), 4)}

    async def pack(self, visit: Visit) -> dict[Any, Any]:
        """Write all files of the image at its own size, as the HTTP API gives them, at the thresholds of the page."""
        parts, result = self._parts, self._results.get(visit.key)
        if result is None or not all(file.exists() for file in result.files):
            return {parts.packed: None, parts.said: words.notice(GONE)}

        def write(planes: Planes) -> str:
            return str(self._shelf.put(f"{result.name}.zip", archive(planes, kinds_of(self._run["targets"]))))

        wanted = planes_for("zip")
        levels = visit.levels or None
        try:
            return {parts.packed: await self._compute(result.files, write, wanted, levels), parts.said: ""}
        except Exception as error:
            return {parts.packed: None, parts.said: _failure(error)}

    async def _compute(
        self,
        files: Sequence[Path],
        answer: Callable[[Planes], T],
        wanted: Collection[str],
        levels: tuple[float, ...] | None = None,
    ) -> T:
        """Read uploads, predict, and make something of it: one job in the server's queue."""
        background = files[1] if len(files) > 1 else None
        with self._service.work.place():
            return await self._service.work.run(
                lambda: answer(self._service.planes(files[0], background, wanted, threshold=levels))
            )

    def _look(self, chosen: str, visit: Visit) -> dict[Any, Any]:
        result = self._results.get(visit.key)
        if result is None and visit.key is not None:
            return self._show(None, Visit(None, visit.levels), chosen, words.notice(GONE))
        return {self._parts.visit: visit, **self._mask(result, visit, chosen)}

    def _show(self, result: Result | None, visit: Visit, chosen: Any, message: str = "") -> dict[Any, Any]:
        parts = self._parts
        button = self._gradio.update(interactive=result is not None)
        shown = {parts.said: message, parts.visit: visit, parts.take: button, parts.packed: None}
        if parts.overlay is not None:
            shown |= self._mask(result, visit, chosen)
        if parts.depth is not None:
            shown |= {parts.depth: None, parts.reach: ""}
            if result is not None and result.depth is not None:
                shown[parts.depth] = draw_depth(result.depth, result.size, self._run)
                shown[parts.reach] = words.depth_line(result.depth, self._run)
        return shown

    def _mask(self, result: Result | None, visit: Visit, chosen: Any) -> dict[Any, Any]:
        parts = self._parts
        if result is None or result.probability is None:
            return {parts.overlay: None, parts.cutout: None, parts.shares: ""}
        only = self._choices.get(str(chosen))
        labels = label_map(result.probability, visit.levels, only)
        alpha = find_cutout(result.probability, visit.levels, only)
        return {
            parts.overlay: draw_overlay(result.image, labels, self._colours),
            parts.cutout: draw_cutout(result.image, alpha),
            parts.shares: words.legend(labels, self._run["classes"], self._colours),
        }


def _plain(name: str) -> str:
    """Return what a file may be called, of what somebody's file is called."""
    return "".join(letter for letter in name if letter.isprintable())[:LONGEST_NAME] or "image"


def _failure(error: Exception) -> str:
    """Return what the page says of an error; the program's own go to the log, with their place."""
    if not isinstance(error, BasreliefError):
        LOG.error("The page could not answer.", exc_info=error)
        return words.notice("The server failed at this image. Its log says why.", error=True)
    return words.notice(str(error), error=True)
