"""Documents of any shape given to the readers of files that somebody else wrote: read, or refused in one message.

Hypothesis makes them in this process: good ones of which some places hold something else, and documents from nothing.
Only ``BasreliefError`` may come of it; what is read, loads.
"""

# ruff: noqa: E501
from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from basrelief import app
from basrelief.config import RunSettings, StudySettings
from basrelief.data import open_source
from basrelief.data.groups import read_column
from basrelief.data.source import DataOptions
from basrelief.data.splits import _from_file
from basrelief.engine.checkpoint import BEST, save_checkpoint
from basrelief.errors import BasreliefError
from basrelief.files import read_yaml
from basrelief.inference.load import load
from basrelief.inference.network import build_model
from basrelief.recipes import made
from basrelief.recipes.recipe import FOLDER, RECIPES, find_recipe
from fuzz.shapes import anything, changed, csv_files, tables, texts
from networks import facts, saved
from support import make_quartets, write_folder, write_quartets_a, write_quartets_c

attacked = settings(settings.get_profile("structures"))
NETWORKS = {
    "mask": facts(),
    "both": facts(network="relief(width=8)", heads=["mask", "depth"], targets=["mask", "depth"]),
}
IMAGES = ("images/00.png", "images/01.png", "images/02.png")
MASKS = ("masks/00.png", "masks/01.png", "masks/02.png")


class Place(NamedTuple):
    """Good data, one folder for each kind, of which a test writes one file anew for each example."""

    root: Path

    def write(self, name: str, content: bytes | str) -> Path:
        """Write a file, and return its path."""
        path = self.root / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("structures")
    for name in ("manifest", "facts"):
        write_folder(root / name, 3, depths=True)
    for name in ("coco", "labelme", "yolo"):
        (root / name / "images").mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.full((24, 32, 3), 40 * i, np.uint8)).save(root / name / f"images/{i:02d}.png")
    (root / "yolo/labels").mkdir()
    (root / "yolo/labels/01.txt").write_text("0 0.1 0.1 0.9 0.1 0.9 0.9\n")
    (root / "labelme/images/01.json").write_text(json.dumps(LABELME))
    write_quartets_a(root / "a", make_quartets(2, 1, (16, 16)))
    write_quartets_c(root / "c", make_quartets(2, 1, (16, 16)), 1)
    for name, document in NETWORKS.items():
        saved(root / f"saved-{name}", **document)
        (root / f"run-{name}").mkdir()
        torch.manual_seed(0)
        save_checkpoint(root / f"run-{name}" / BEST, build_model(document), {})
    return Place(root)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """A warning of Python's or a library's own would reach the user: it is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)  # which Python does not show; it is about code
        yield


def refused(attempt: Callable[[], Any]) -> Any:
    """Return what an attempt gives, or None where it is refused in a message that can be shown."""
    try:
        return attempt()
    except BasreliefError as error:
        message = str(error)
        assert message.strip() and len(message) < 25_000, message[:500]  # noqa: PT018
        assert "\0" not in message, message[:500]
        return None


def open_all(location: Path) -> None:
    """List data and load its samples."""
    source = refused(lambda: open_source(str(location), DataOptions()))
    if source is None:
        return
    for fault in source.faults:
        str(fault)
    for entry in source.entries[:3]:
        sample = refused(lambda entry=entry: source.load(entry))
        assert sample is None or sample.image.shape[2] == 3


# ---- recipes

GOOD_RECIPES = [yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8")) for name in RECIPES]
recipes = st.sampled_from(GOOD_RECIPES).flatmap(changed) | anything
PIECES = (
    "command: study\n", "data: ", "options:\n", "scales: ", "  made: quartets\n", "- ", "? ", ": ", "&a ", "*a", "<<: *a\n", "<<: [*a, *a]\n", "!!int ", "!!python/name:os.system ",
    "!!set ", "!!omap ", "!!binary ", "!!timestamp ", "!x ", "--- ", "...\n", "%YAML 1.1\n", "|\n", ">-\n", "{", "}", "[", "]", ",", "'", '"', "#", "\n", "\n  ", "\t", "1:30", "1_0",
    "0x1f", "0o7", ".inf", ".nan", "~", "yes", "2001-01-01", "2001-99-99", "1e400", "9" * 5000, '"\\ud800"', '"\\x00"', "=", "<<", "é", "\ufeff", "\x85", "\x07",
)  # fmt: skip


@pytest.fixture
def _makes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, kind in made.MADE.items():
        monkeypatch.setitem(made.MADE, name, kind._replace(make=lambda folder, progress, **options: None))


def use_recipe(path: Path) -> None:
    """Do with a recipe what study and train do before they begin."""
    for command, kind in (("study", StudySettings), ("train", RunSettings)):
        recipe = refused(lambda command=command: find_recipe(str(path), command))
        for scale in recipe.scales if recipe else ():

            def prepare(command: str = command, scale: str = scale, kind: Any = kind) -> Any:
                out = str(path.parent / "out")
                data, _, options = app._prepared(command, None, str(path), scale, out, None, {})
                return app.canonical(app.settings_from({"location": data, **app.one_factor(options)}, kind))

            refused(prepare)


@pytest.mark.usefixtures("_makes_nothing")
@attacked
@given(recipes, st.booleans())
def test_recipes(place: Place, document: Any, as_json: bool) -> None:
    try:
        text = json.dumps(document) if as_json else yaml.safe_dump(document, allow_unicode=True)
    except ValueError:  # numbers of more digits than Python writes
        return
    use_recipe(place.write("x.yaml", text))


@pytest.mark.usefixtures("_makes_nothing")
@attacked
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=15).map("".join))
def test_yaml_of_pieces(place: Place, text: str) -> None:
    path = place.write("x.yaml", text)
    refused(lambda: read_yaml(path))
    use_recipe(path)


# ---- manifests

CELLS = (*IMAGES, *MASKS, "depths/00.png", "", "train", "val", "test", "a", "images", "images/nowhere.png")
COLUMNS = ("image", "mask", "depth", "group", "split", "background", "valid")


@attacked
@given(csv_files(COLUMNS, CELLS), st.sampled_from(("csv", "tsv")))
def test_manifests(place: Place, content: bytes, suffix: str) -> None:
    open_all(place.write(f"manifest/all.{suffix}", content))


KINDS: tuple[tuple[Any, st.SearchStrategy[Any]], ...] = (
    (pl.String, st.sampled_from(CELLS)), (pl.String, texts.filter(lambda text: "\ud800" not in text)), (pl.Int64, st.integers(-3, 3)), (pl.Float64, st.floats()), (pl.Boolean, st.booleans()),
    (pl.List(pl.String), st.lists(st.sampled_from(CELLS), max_size=2)), (pl.Binary, st.binary(max_size=5)), (pl.Null, st.none()), (pl.Date, st.dates()), (pl.Duration, st.timedeltas()),
    (pl.Struct({"a": pl.Int8}), st.fixed_dictionaries({"a": st.integers(0, 3)})), (pl.Categorical, st.sampled_from(CELLS)), (pl.Datetime, st.datetimes()), (pl.Decimal(10, 2), st.decimals(-9, 9, places=2)),
)  # fmt: skip


@attacked
@given(st.data(), st.integers(0, 4))
def test_parquet_manifests(place: Place, data: st.DataObject, count: int) -> None:
    columns = {}
    for name in data.draw(st.lists(st.sampled_from((*COLUMNS, "Image", " mask ", "x", "")), unique=True, max_size=6)):
        kind, values = data.draw(st.sampled_from(KINDS[:1] * 6 + KINDS))
        cells = data.draw(st.lists(values | st.none(), min_size=count, max_size=count))
        columns[name] = pl.Series(name, cells, dtype=kind)
    path = place.root / "manifest/all.parquet"
    pl.DataFrame(columns).write_parquet(path)
    open_all(path)


# ---- labels

COCO = {
    "images": [{"id": i, "file_name": f"{i:02d}.png", "width": 32, "height": 24} for i in range(3)],
    "annotations": [
        {"id": 1, "image_id": 0, "category_id": 1, "iscrowd": 0, "bbox": [1, 1, 8, 8], "segmentation": [[1, 1, 9, 1, 9, 9]]},
        {"id": 2, "image_id": 1, "category_id": 2, "iscrowd": 1, "segmentation": {"size": [24, 32], "counts": [5, 20, 743]}},
        {"id": 3, "image_id": 2, "category_id": 1, "segmentation": [[1, 1, 20, 1, 20, 20, 1, 20]], "area": 361},
    ],
    "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "<script>alert(1)</script>"}],
}  # fmt: skip
LABELME = {
    "version": "5.0", "flags": {}, "imagePath": "00.png", "imageData": None, "imageHeight": 24, "imageWidth": 32,
    "shapes": [
        {"label": "cup", "points": [[1, 1], [20, 1], [20, 20]], "group_id": None, "shape_type": "polygon", "flags": {}},
        {"label": "cup", "points": [[1, 1], [9, 9]], "group_id": 1, "shape_type": "rectangle"},
        {"label": "rim", "points": [[9, 9], [9, 12]], "group_id": 1, "shape_type": "circle"},
    ],
}  # fmt: skip


@attacked
@given(changed(COCO) | anything)
def test_coco(place: Place, document: Any) -> None:
    open_all(place.write("coco/all.json", json.dumps(document)))


@attacked
@given(changed(LABELME) | anything)
def test_labelme(place: Place, document: Any) -> None:
    place.write("labelme/images/00.json", json.dumps(document))
    open_all(place.root / "labelme")


LABELS = (
    "0",
    "1",
    "0.1",
    "0.5",
    "0.9",
    "1.0",
    "-0.1",
    "1.5",
    "nan",
    "inf",
    "1e999",
    "x",
    "",
    "0x1",
    "²",
    "1_0",
    "9" * 400,
)
lines = st.lists(
    st.lists(st.sampled_from(LABELS[:6] * 3 + LABELS), max_size=10).map(" ".join) | st.text(max_size=6), max_size=4
)
NAMES = {"path": ".", "train": "images", "nc": 2, "names": {0: "cup", 1: "plate"}}


@attacked
@given(lines.map("\n".join), changed(NAMES) | anything)
def test_yolo(place: Place, text: str, names: Any) -> None:
    place.write("yolo/labels/00.txt", text)
    try:
        place.write("yolo/data.yaml", yaml.safe_dump(names))
    except ValueError:
        return
    open_all(place.root / "yolo")


# ---- tables beside data

IDS = ("00", "01", "02")


@attacked
@given(csv_files(("id", "group", "split"), (*IDS, "train", "val", "test", "a", "")))
def test_groups_and_splits(place: Place, content: bytes) -> None:
    path = place.write("groups.csv", content)
    groups = refused(lambda: read_column(path, "group", IDS))
    assert groups is None or len(groups) == 3
    splits = refused(lambda: _from_file(path, IDS))
    assert splits is None or set(splits) <= {"", "train", "val", "test"}


FACTS = {
    "version": 1, "finished": True, "format": "folder", "depth_scale": 0.001, "depth_unit": "m", "depth_kind": "metric", "depth_invalid": [0], "mask_figure_from": 128, "samples": "samples.csv",
}  # fmt: skip
GOOD_SAMPLES = b"id,background,foreground,split\n" + b"".join(b"%s,a,b,train\n" % name.encode() for name in IDS)
samples = csv_files(("id", "background", "foreground", "split"), (*IDS, "train", "val", "a", ""))


@attacked
@given(changed(FACTS) | anything, st.just(GOOD_SAMPLES) | samples)
def test_facts_and_samples(place: Place, document: Any, table: bytes) -> None:
    place.write("facts/basrelief.json", json.dumps(document))
    place.write("facts/samples.csv", table)
    open_all(place.root / "facts")


A = ("room-1", "room-2", "bg_fg_1", "bg_fg_2", "bg_fg_mask_1", "bg_fg_mask_2", "bg_fg_depth_map_1", "bg_fg_depth_map_2")
C = ("room-1.jpg", "fg-1.png", "fg-bg_1.jpg", "fg-bg-mask_1.jpg", "depth_1.jpg", "fg-bg_2.jpg", "depth_2.jpg")


@attacked
@given(tables(A[::2], A), st.booleans())
def test_lists_of_quartets(place: Place, table: list[list[str]], in_zips: bool) -> None:
    text = "\n".join("\t".join(line) for line in table)
    if in_zips:
        first = "room-1.jpg\tfg-1.png\tfg-bg_1.jpg\tfg-bg-mask_1.jpg\tdepth_1.jpg\n"
        place.write("c/labels.txt", first + text.replace("bg_fg", "fg-bg"))
        open_all(place.root / "c")
    else:
        place.write("a/file_map.txt", text)
        open_all(place.root / "a")


# ---- networks

PICTURE = np.zeros((24, 32, 3), np.uint8)


def use_network(folder: Path) -> None:
    """Load a network as predict does, and predict."""
    loaded = refused(lambda: load(folder, device="cpu"))
    if loaded is None:
        return
    predictor = loaded.predictor
    if np.prod(predictor.resolution) <= 128 * 128:
        refused(lambda: predictor(PICTURE, PICTURE if predictor.takes_background else None))
    refused(lambda: load(folder, device="cpu", threshold="best"))


@pytest.mark.parametrize("kind", NETWORKS)
@attacked
@given(st.data())
def test_cards(place: Place, kind: str, data: st.DataObject) -> None:
    good = json.loads((place.root / f"saved-{kind}/config.json").read_text(encoding="utf-8"))
    place.write(f"saved-{kind}/config.json", json.dumps(data.draw(changed(good) | anything)))
    try:
        use_network(place.root / f"saved-{kind}")
    finally:
        place.write(f"saved-{kind}/config.json", json.dumps(good))


RUN = {"status": "finished", "thresholds": {"best": [0.4], "score": [0.9], "at_half": [0.8]}, "val_metrics": {}, "versions": {}, "split": "0" * 16}  # fmt: skip


@pytest.mark.parametrize("kind", NETWORKS)
@attacked
@given(st.data())
def test_runs(place: Place, kind: str, data: st.DataObject) -> None:
    document = data.draw(changed({**NETWORKS[kind], **RUN}) | changed({**NETWORKS[kind], **RUN}) | anything)
    place.write(f"run-{kind}/run.json", json.dumps(document))
    use_network(place.root / f"run-{kind}")
