"""The parts of the page and where they stand; what they do is in ``page_actions``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from basrelief.serving import page_words as words
from basrelief.serving.page_results import KEEP, Visit
from basrelief.serving.service import Service

ALL = "all classes"
FEW = 6  # of so many classes each has a button; more are in a list
HEIGHT = 340  # of a picture on the page, so that nothing jumps when another comes


@dataclass(frozen=True)
class Parts:
    """Components of the page, each a Gradio component; None where the network has no use for it.

    ``visit`` is one visitor's own state; ``picture`` and ``behind`` take the uploads; ``said`` says what to do or what
    went wrong; ``level`` and ``choice`` are the threshold and the class; ``overlay``, ``cutout``, ``shares``, ``depth``
    and ``reach`` show the result; ``take`` and ``packed`` are the button and the file for download.
    """

    visit: Any
    picture: Any
    behind: Any
    said: Any
    examples: Any
    level: Any
    choice: Any
    overlay: Any
    cutout: Any
    shares: Any
    depth: Any
    reach: Any
    take: Any
    packed: Any

    @property
    def uploads(self) -> list[Any]:
        """Return what takes files."""
        return [part for part in (self.picture, self.behind) if part is not None]

    @property
    def pictures(self) -> list[Any]:
        """Return what shows that the network is at work."""
        return [part for part in (self.overlay, self.cutout, self.depth) if part is not None]

    @property
    def results(self) -> list[Any]:
        """Return all that another result changes."""
        texts = [part for part in (self.shares, self.reach) if part is not None]
        return [self.said, self.visit, self.take, self.packed, *self.pictures, *texts]


def class_choices(run: Mapping[str, Any]) -> dict[str, int | None]:
    """Return what can be shown of the classes: name -> number; None: all."""
    return {ALL: None, **{name: number for number, name in enumerate(run["classes"])}}


def lay_out(gradio: Any, service: Service, examples: Sequence[tuple[Path, ...]]) -> Parts:
    """Return the parts, laid out within the ``gradio.Blocks`` that is open."""
    predictor = service.predictor
    run = predictor.run
    masks = len(run["classes"]) if "mask" in run["targets"] else 0
    behind = shown = level = overlay = cutout = shares = depth = reach = None
    visit = gradio.State(Visit(None, tuple(predictor.thresholds) if masks else ()), time_to_live=KEEP)
    choice = gradio.State(ALL)
    gradio.HTML(words.header(run, service.title), elem_id="header")
    with gradio.Row(elem_id="columns"):
        with gradio.Column(scale=4, min_width=300):
            picture = _upload(gradio, "Image", "picture", ["upload", "webcam", "clipboard"])
            if predictor.takes_background:
                behind = _upload(gradio, "Background: the same place, empty", "behind", ["upload", "webcam"])
            said = gradio.HTML(words.invitation(service.limits, predictor.takes_background), elem_id="said")
            if examples:
                shown = gradio.Dataset(
                    label="Examples: images it was not trained on",
                    components=[picture],
                    samples=[[str(files[0])] for files in examples],
                    type="index",
                    elem_id="examples",
                )
        with gradio.Column(scale=7, min_width=300, elem_id="results"):
            if masks:
                with gradio.Row(elem_id="controls"):
                    level = _level(gradio, float(np.mean(predictor.thresholds)))
                    if masks > 1:
                        choice = _class_choice(gradio, list(class_choices(run)))
                with gradio.Row(elem_id="pictures"):
                    overlay = _shown(gradio, "Mask", "overlay")
                    cutout = _shown(gradio, "Cut-out", "cutout")
                shares = gradio.HTML("", elem_id="shares")
            if "depth" in run["targets"]:
                depth = gradio.Plot(label=words.depth_label(run), elem_id="depth")
                reach = gradio.HTML("", elem_id="reach")
            take = gradio.Button("Download all (ZIP)", interactive=False, elem_id="take")
            packed = gradio.File(visible="hidden", elem_id="packed")
    return Parts(
        visit=visit, picture=picture, behind=behind, said=said, examples=shown, level=level, choice=choice,
        overlay=overlay, cutout=cutout, shares=shares, depth=depth, reach=reach, take=take, packed=packed,
    )  # fmt: skip


def _upload(gradio: Any, label: str, name: str, sources: list[str]) -> Any:
    return gradio.Image(label=label, sources=sources, type="filepath", height=HEIGHT, elem_id=name, buttons=[])


def _level(gradio: Any, value: float) -> Any:
    return gradio.Slider(
        0.01,
        0.99,
        value=round(value, 4),
        step=0.01,
        label="Threshold",
        info="Mask is where the probability is higher.",
        elem_id="level",
        min_width=240,
        buttons=[],
    )


def _shown(gradio: Any, label: str, name: str) -> Any:
    return gradio.Image(
        label=label, interactive=False, height=HEIGHT, format="png", elem_id=name, buttons=["fullscreen"], min_width=260
    )


def _class_choice(gradio: Any, names: list[str]) -> Any:
    if len(names) <= FEW + 1:
        return gradio.Radio(names, value=ALL, label="Shown", elem_id="choice", min_width=240)
    return gradio.Dropdown(names, value=ALL, label="Shown", elem_id="choice", min_width=240)
