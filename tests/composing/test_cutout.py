"""Cut-outs: what is a figure and what is not, and that no colour hidden under transparency ever shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from basrelief.composing.cutout import load_figure, resize_figure
from basrelief.data.decode import FileError, read_cutout
from materials import draw_disc


def save(folder: Path, picture: np.ndarray, name: str = "cup.png") -> Path:
    Image.fromarray(picture).save(folder / name)
    return folder / name


def photograph(height: int = 40, width: int = 50) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)


def test_a_figure_is_cropped_to_what_is_visible_and_keeps_its_soft_edge(tmp_path: Path) -> None:
    picture = np.zeros((80, 90, 4), np.uint8)
    picture[20:60, 30:70] = draw_disc()
    picture[5, 5, 3] = 3  # what cutting-out programs leave around
    figure = load_figure(save(tmp_path, picture))
    rows, columns = np.nonzero(picture[..., 3] >= 8)
    assert np.array_equal(figure, picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1])
    assert len(np.unique(figure[..., 3])) > 3


@pytest.mark.parametrize("kind", ["palette", "grey", "16-bit neighbour"])
def test_other_kinds_of_transparency_are_read(tmp_path: Path, kind: str) -> None:
    picture = Image.fromarray(draw_disc(soft=0.01))
    path = tmp_path / "cup.png"
    if kind == "palette":
        flat = picture.convert("RGB").quantize(16)
        index = flat.getpixel((0, 0))
        flat.save(path, transparency=index)
    elif kind == "grey":
        picture.convert("LA").save(path)
    else:
        picture.save(path.with_suffix(".tif"))
        path = path.with_suffix(".tif")
    alpha = load_figure(path)[..., 3]
    assert alpha[0, 0] == 0
    assert alpha[18, 18] == 255


@pytest.mark.parametrize("kind", ["JPEG", "opaque PNG", "nearly opaque"])
def test_a_photograph_is_refused_as_wholly_opaque(tmp_path: Path, kind: str) -> None:
    picture = photograph()
    name = "cup.jpg" if kind == "JPEG" else "cup.png"
    if kind == "nearly opaque":
        picture = np.dstack([picture, np.full(picture.shape[:2], 252, np.uint8)])
    with pytest.raises(FileError, match=r"cup\.\w+: is wholly opaque.*Cut the figure out"):
        load_figure(save(tmp_path, picture, name))


@pytest.mark.parametrize(("colour", "called"), [(255, "white"), (0, "black"), (120, "single-coloured")])
@pytest.mark.parametrize("margin", [0, 7])
def test_a_box_instead_of_transparency_is_refused(tmp_path: Path, colour: int, called: str, margin: int) -> None:
    box = np.full((50, 60, 4), colour, np.uint8)
    box[..., 3] = 255
    box[10:40, 15:45, :3] = photograph(30, 30)
    noise = np.random.default_rng(1).integers(-6, 7, (50, 60, 3))
    box[..., :3] = np.clip(box[..., :3].astype(int) + noise, 0, 255)  # as JPEG leaves it
    picture = np.zeros((50 + 2 * margin, 60 + 2 * margin, 4), np.uint8)
    picture[margin : margin + 50, margin : margin + 60] = box
    with pytest.raises(FileError, match=f"has a {called} box around its figure.*Cut the figure out"):
        load_figure(save(tmp_path, picture))


@pytest.mark.parametrize(
    ("alpha", "size", "reason"),
    [(0, 40, "is wholly transparent"), (90, 40, "is nowhere more than half opaque"), (255, 5, "too small to paste")],
)
def test_nothing_to_see_is_refused(tmp_path: Path, alpha: int, size: int, reason: str) -> None:
    picture = np.zeros((60, 60, 4), np.uint8)
    picture[10 : 10 + size, 10 : 10 + size] = [10, 200, 30, alpha]
    with pytest.raises(FileError, match=reason):
        load_figure(save(tmp_path, picture))


def test_a_figure_cut_by_its_pictures_border_and_a_plain_rectangle_are_figures(tmp_path: Path) -> None:
    picture = np.dstack([photograph(), np.full((40, 50), 255, np.uint8)])
    picture[:15, :20, 3] = 0
    assert load_figure(save(tmp_path, picture)).shape == (40, 50, 4)
    plain = np.zeros((60, 60, 4), np.uint8)
    plain[10:40, 10:50] = [200, 0, 0, 255]
    assert load_figure(save(tmp_path, plain, "plain.png")).shape == (30, 40, 4)


def test_broken_files_are_refused_in_the_decoders_words(tmp_path: Path) -> None:
    (tmp_path / "cup.png").write_bytes(save(tmp_path, draw_disc(), "x.png").read_bytes()[:300])
    with pytest.raises(FileError, match=r"cup\.png: is truncated or damaged"):
        read_cutout(tmp_path / "cup.png")
    with pytest.raises(FileError, match="is not there"):
        read_cutout(tmp_path / "none.png")


@given(height=st.integers(1, 70), width=st.integers(1, 70), hidden=st.sampled_from([0, 255]))
@settings(max_examples=30, deadline=None)
def test_resizing_leaves_no_fringe_of_the_colour_under_the_transparency(height: int, width: int, hidden: int) -> None:
    picture = draw_disc()
    picture[picture[..., 3] == 0, :3] = hidden
    picture[picture[..., 3] > 0, :3] = [120, 60, 90]
    small = resize_figure(picture, height, width)
    seen = small[..., 3] >= 16
    # Premultiplied in 8 bits and rounded three times, a colour at alpha 16 is known to within 3 * 255 / 16 / 2.
    assert np.abs(small[seen][:, :3].astype(int) - [120, 60, 90]).max(initial=0) <= 24
    strong = small[..., 3] >= 128
    assert np.abs(small[strong][:, :3].astype(int) - [120, 60, 90]).max(initial=0) <= 4


def test_a_large_figure_is_reduced_to_what_is_needed(tmp_path: Path) -> None:
    figure = load_figure(save(tmp_path, draw_disc(300)), largest=64)
    assert max(figure.shape[:2]) == 64
