"""The page of a served network: drop an image on it, see mask, cut-out and depth, take the files home.

Gradio draws the page and carries the files. Its own reading of pictures is passed by (``preprocess=False``): it would
decode whatever it is given before our limits are looked at. The uploaded file's path goes to the same bounded work
queue as the requests of the HTTP API.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from basrelief.errors import BasreliefError, MissingExtraError
from basrelief.functional.colours import class_colours
from basrelief.inference.planes import facts_of, planes_of
from basrelief.inference.prediction import Prediction
from basrelief.serving import page_words as words
from basrelief.serving.answers import archive, kinds_of, planes_for
from basrelief.serving.page_examples import write_examples
from basrelief.serving.page_pictures import draw_cutout, draw_depth, draw_overlay, label_map
from basrelief.serving.page_results import Result, Results, small_result
from basrelief.serving.page_routes import PageRoutes

if TYPE_CHECKING:
    from fastapi import FastAPI

    from basrelief.serving.service import Service

LOG = logging.getLogger(__name__)
T = TypeVar("T")

ALL = "all classes"
FEW = 6  # of so many classes each has a button; more are in a list
SWEEP, KEEP = 60, 1800  # seconds: how often old files are looked for, and how old they get
HEIGHT = 340  # of a picture on the page, so that nothing jumps when another comes
GONE = "This result is no longer kept. Drop the image once more."
FETCH = """(file) => {
  if (!file) return;
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name;
  document.body.append(link);
  link.click();
  link.remove();
}"""


@dataclass
class Visit:
    """What belongs to one visitor's session alone: the key of the result, and the level of each class."""

    key: str | None
    levels: list[float]


def add_page(app: FastAPI, service: Service, home: Path | None = None) -> FastAPI:
    """Put the page at / of the server, below the routes that it has already.

    ``home`` is the directory with the run's plan and data, for the examples; None where there is none.

    Raises
    ------
    MissingExtraError
        Without gradio.
    """
    gradio = _import_gradio()
    # Gradio's own folder is shared by all its programs and, on many machines, by all users. This one goes with the
    # process.
    folder = tempfile.TemporaryDirectory(prefix="basrelief-page-", ignore_cleanup_errors=True)
    os.environ["GRADIO_TEMP_DIR"] = folder.name
    page = make_page(service, Path(folder.name), write_examples(service.predictor, home, Path(folder.name)))
    page.folder = folder
    app.add_middleware(PageRoutes)
    mounted: FastAPI = gradio.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        max_file_size=service.limits.max_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=_theme(gradio),
        css_paths=[Path(__file__).with_name("page.css")],
    )
    return mounted


def make_page(service: Service, folder: Path, examples: Sequence[tuple[Path, ...]] = ()) -> Any:
    """Return the page as ``gradio.Blocks``.

    Parameters
    ----------
    service
        The network, its queue and limits.
    folder
        Where files for download are written; within ``GRADIO_TEMP_DIR``, as are the examples.
    examples
        (image,) or (image, background) of each.
    """
    gradio = _import_gradio()
    predictor = service.predictor
    run = predictor.run
    has_mask, has_depth = "mask" in run["targets"], "depth" in run["targets"]
    unit, kind = run["depth_unit"] or "", run["depth_kind"] or ""
    classes = tuple(run["classes"]) if has_mask else ()
    choices = {ALL: None, **{name: number for number, name in enumerate(classes)}}
    colours = class_colours(classes, len(classes))
    results = Results()

    with gradio.Blocks(
        title=words.page_title(run), analytics_enabled=False, delete_cache=(SWEEP, KEEP), elem_id="basrelief"
    ) as page:
        visit = gradio.State(Visit(None, list(predictor.thresholds) if has_mask else []), time_to_live=KEEP)
        gradio.HTML(words.header(run, service.title), elem_id="header")
        with gradio.Row(elem_id="columns"):
            with gradio.Column(scale=4, min_width=300):
                picture = _upload(gradio, "Image", "picture", ["upload", "clipboard", "webcam"])
                behind = None
                if predictor.takes_background:
                    behind = _upload(gradio, "Background: the same place, empty", "behind", ["upload", "webcam"])
                said = gradio.HTML(_invitation(service, picture=False), elem_id="said")
                if examples:
                    shown = gradio.Dataset(
                        label="Examples: images it was not trained on",
                        components=[picture],
                        samples=[[str(files[0])] for files in examples],
                        type="index",
                        elem_id="examples",
                    )
            with gradio.Column(scale=7, min_width=300, elem_id="results"):
                if has_mask:
                    with gradio.Row(elem_id="controls"):
                        level = gradio.Slider(
                            0.01,
                            0.99,
                            value=round(float(np.mean(predictor.thresholds)), 4),
                            step=0.01,
                            label="Threshold",
                            info="Mask is where the probability is higher.",
                            elem_id="level",
                            min_width=240,
                            buttons=[],
                        )
                        choice = _class_choice(gradio, list(choices)) if len(classes) > 1 else gradio.State(ALL)
                    with gradio.Row(elem_id="pictures"):
                        overlay = _shown(gradio, "Mask", "overlay")
                        cutout = _shown(gradio, "Cut-out", "cutout")
                    shares = gradio.HTML("", elem_id="shares")
                if has_depth:
                    depth = gradio.Plot(label=words.depth_label(unit, kind), elem_id="depth")
                    reach = gradio.HTML("", elem_id="reach")
                take = gradio.Button("Download all (ZIP)", interactive=False, elem_id="take")
                packed = gradio.File(visible="hidden", elem_id="packed")

        def show_mask(result: Result | None, visit_now: Visit, chosen: Any) -> dict[Any, Any]:
            if result is None or result.probability is None:
                return {overlay: None, cutout: None, shares: ""}
            labels = label_map(result.probability, visit_now.levels, choices.get(str(chosen)))
            return {
                overlay: draw_overlay(result.image, labels, colours),
                cutout: draw_cutout(result.image, labels > 0),
                shares: words.legend(labels, classes, colours),
            }

        def show(result: Result | None, visit_now: Visit, chosen: Any, message: str = "") -> dict[Any, Any]:
            """Return what all parts of the page are to show."""
            parts: dict[Any, Any] = {
                said: message,
                visit: visit_now,
                take: gradio.update(interactive=result is not None),
                packed: None,
            }
            if has_mask:
                parts |= show_mask(result, visit_now, chosen)
            if has_depth:
                parts |= {depth: None, reach: ""}
                if result is not None and result.depth is not None:
                    parts[depth] = draw_depth(result.depth, result.size, unit, kind)
                    parts[reach] = words.depth_line(result.depth, unit, kind)
            return parts

        async def predict(*given: Any) -> dict[Any, Any]:
            *uploads, visit_now, chosen = given
            missing = [upload is None or not upload.get("path") for upload in uploads]
            if any(missing):
                results.drop(visit_now.key)
                return show(None, Visit(None, visit_now.levels), chosen, _invitation(service, picture=not missing[0]))
            files = tuple(Path(upload["path"]) for upload in uploads)
            name = Path(uploads[0].get("orig_name") or "image").stem[:80] or "image"
            try:
                result = await _compute(service, files, lambda found: small_result(found, files, name))
            except Exception as error:
                results.drop(visit_now.key)
                return show(None, Visit(None, visit_now.levels), chosen, _failure(error))
            key = results.put(result, visit_now.key)
            return show(result, Visit(key, visit_now.levels), chosen)

        def move(value: float, chosen: str, visit_now: Visit) -> dict[Any, Any]:
            only = choices.get(chosen)
            levels = [value if only in (None, number) else old for number, old in enumerate(visit_now.levels)]
            return look(chosen, Visit(visit_now.key, levels))

        def choose(chosen: str, visit_now: Visit) -> dict[Any, Any]:
            only = choices.get(chosen)
            value = np.mean(visit_now.levels) if only is None else visit_now.levels[only]
            return look(chosen, visit_now) | {level: round(float(value), 4)}

        def look(chosen: str, visit_now: Visit) -> dict[Any, Any]:
            result = results.get(visit_now.key)
            if result is None and visit_now.key is not None:
                return show(None, Visit(None, visit_now.levels), chosen, words.notice(GONE))
            return {visit: visit_now, **show_mask(result, visit_now, chosen)}

        async def pack(visit_now: Visit) -> dict[Any, Any]:
            result = results.get(visit_now.key)
            if result is None or not all(file.exists() for file in result.files):
                return {packed: None, said: words.notice(GONE)}

            def write(found: Prediction) -> str:
                file = Path(tempfile.mkdtemp(dir=folder)) / f"{result.name}.zip"
                facts = dataclasses.replace(facts_of(service.predictor), thresholds=tuple(visit_now.levels))
                planes = planes_of(found, facts, planes_for("zip"))
                file.write_bytes(archive(planes, kinds_of(run["targets"])))
                return str(file)

            try:
                return {packed: await _compute(service, result.files, write)}
            except Exception as error:
                return {packed: None, said: _failure(error)}

        private: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": None}
        at_once = private | {"trigger_mode": "always_last", "show_progress": "hidden"}
        uploads = [picture] if behind is None else [picture, behind]
        pictures = [overlay, cutout] if has_mask else []
        parts = [said, visit, take, packed, *pictures, *([shares] if has_mask else [])]
        parts += [depth, reach] if has_depth else []
        chosen = choice if has_mask else gradio.State(ALL)
        running: dict[str, Any] = private | {
            "fn": predict,
            "inputs": [*uploads, visit, chosen],
            "outputs": parts,
            "preprocess": False,
            "show_progress_on": [*pictures, *([depth] if has_depth else [])],
        }
        gradio.on(
            [event for upload in uploads for event in (upload.input, upload.clear)],
            trigger_mode="always_last",
            **running,
        )
        if examples:
            shown.click(
                lambda number: (
                    [str(file) for file in examples[number]] if len(uploads) > 1 else str(examples[number][0])
                ),
                shown,
                uploads,
                show_progress="hidden",
                **private,
            ).then(**running)
        if has_mask:
            level.input(move, [level, chosen, visit], parts, **at_once)
        if len(classes) > 1:
            chosen.input(choose, [chosen, visit], [*parts, level], **at_once)
        take.click(pack, visit, [packed, said], show_progress_on=take, **private).then(None, packed, None, js=FETCH)
    page.queue(api_open=False, max_size=service.limits.queue)
    return page


async def _compute(service: Service, files: tuple[Path, ...], answer: Callable[[Prediction], T]) -> T:
    """Read uploads, predict, and make something of the prediction: one job in the server's queue."""
    background = files[1] if len(files) > 1 else None
    with service.work.place():
        return await service.work.run(lambda: answer(service.predict(files[0], background)))


def _failure(error: Exception) -> str:
    """Return what the page says of an error; the program's own go to the log, with their place."""
    if not isinstance(error, BasreliefError):
        LOG.error("The page could not answer.", exc_info=error)
        return words.notice("The server failed at this image. Its log says why.", error=True)
    return words.notice(str(error), error=True)


def _upload(gradio: Any, label: str, name: str, sources: list[str]) -> Any:
    return gradio.Image(
        label=label, sources=sources, type="filepath", height=HEIGHT, elem_id=name, buttons=[], image_mode=None
    )


def _shown(gradio: Any, label: str, name: str) -> Any:
    return gradio.Image(
        label=label, interactive=False, height=HEIGHT, format="png", elem_id=name, buttons=["fullscreen"], min_width=260
    )


def _class_choice(gradio: Any, names: list[str]) -> Any:
    if len(names) <= FEW + 1:
        return gradio.Radio(names, value=ALL, label="Shown", elem_id="choice", min_width=240)
    return gradio.Dropdown(names, value=ALL, label="Shown", elem_id="choice", min_width=240)


def _invitation(service: Service, *, picture: bool) -> str:
    """Return the line that says what to do next, and what is taken."""
    limits = service.limits
    takes = f"PNG, JPEG, WebP or BMP, up to {limits.max_bytes >> 20} MB and {limits.max_pixels / 1e6:g} megapixels."
    if not service.predictor.takes_background:
        return words.notice(f"Drop, paste or photograph an image. {takes}")
    if not picture:
        return words.notice(f"Drop an image, and the same place without the figure. {takes}")
    return words.notice("Now the background: the same place without the figure, from the same camera.")


def _theme(gradio: Any) -> Any:
    system = [gradio.themes.Font(name) for name in ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")]
    mono = [gradio.themes.Font(name) for name in ("ui-monospace", "Consolas", "monospace")]
    return gradio.themes.Default(primary_hue="blue", neutral_hue="slate", font=system, font_mono=mono)


def _import_gradio() -> Any:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError:
        raise MissingExtraError("gradio", "serve", "The page of basrelief serve") from None
    return gradio
