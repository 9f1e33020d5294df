"""The page of an inspection: whole, escaped, the same each time."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basrelief import app_data
from basrelief.batch import Sample
from basrelief.data.folder import read_folder
from basrelief.data.inspect import inspect_source
from basrelief.data.scenes import read_scenes
from basrelief.data.source import DataOptions, Entry, Fault, Source
from basrelief.errors import DataError, OutputError
from basrelief.functional.colours import HATCH, class_colours
from basrelief.report.inspection import MARK, check_place, render_inspection
from basrelief.report.thumbnails import SIDE, show_planes
from support import write_folder

CHROMIUM = shutil.which("chromium")
HOSTILE = '<script>document.title="ran"</script><img src=x onerror=alert(1)>"\'&amp;'


def page_of(source: Source) -> str:
    return render_inspection(inspect_source(source), source)


def hostile_source() -> Source:
    """A source all of whose texts are markup, with two images alike, faults and unknown pixels."""
    rng = np.random.default_rng(0)
    wide = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    samples = {}
    for i in range(6):
        image = np.asarray(wide.resize((40 + i, 30))) if i < 2 else rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        mask = np.zeros((2, *image.shape[:2]), np.uint8)
        mask[i % 2, 5:15, 5:15] = 1
        valid = np.ones(image.shape[:2], bool)
        valid[:4] = False
        depth = np.full(image.shape[:2], 1.0 + i, np.float32)
        depth[0] = np.nan
        samples[f"{HOSTILE}{i}"] = Sample(f"{HOSTILE}{i}", image, mask=mask, mask_valid=valid, depth=depth)

    def load(entry: Entry) -> Sample:
        if entry.id not in samples:
            raise DataError(f"{entry.id} is broken.")
        return samples[entry.id]

    entries = (*(Entry(name, split=s) for name, s in zip(samples, ("train", "test") * 3, strict=True)), Entry(HOSTILE))
    return Source(
        HOSTILE,
        HOSTILE,
        entries,
        ("mask", "depth"),
        load,
        classes=(HOSTILE, "other"),
        depth_unit=HOSTILE,
        depth_kind=HOSTILE,
        notes=(f"Masks: {HOSTILE}", HOSTILE),
        faults=(Fault(HOSTILE, HOSTILE, HOSTILE),),
    )


class Reader(HTMLParser):
    """Collects elements, addresses and handlers."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def test_everything_is_inside_and_no_text_becomes_markup() -> None:
    page = page_of(hostile_source())
    read = Reader(page)
    assert "script" not in read.tags
    assert "link" not in read.tags
    assert read.handlers == []
    assert all(address.startswith(("data:image/", "#")) for address in read.addresses)
    assert not re.search(r"url\(|@import", page)
    assert HOSTILE not in page
    assert html.escape(HOSTILE, quote=False) in page.replace("&#34;", '"').replace("&#39;", "'")


def test_the_page_shows_what_was_found() -> None:
    page = page_of(hostile_source())
    text = html.unescape(re.sub(r"<[^>]+>", " ", page))
    assert "6 of 7 samples are usable" in text
    assert "1 to mend" in text
    assert "unknown" in text
    assert "look like" in text
    for anchor in ("faults", "samples", "numbers", "splits", "alike"):
        assert f'id="{anchor}"' in page
        assert f'href="#{anchor}"' in page
    assert page.count("<svg class=") == 4  # two classes, brightness, depth


def test_it_is_the_same_each_time_and_light() -> None:
    source = read_scenes("scenes:30", DataOptions())
    page = page_of(source)
    assert page == page_of(source)
    assert len(page) < 1_000_000
    assert page.count("<figcaption>scene-") == 24
    assert MARK in page[:500]


def test_nothing_usable_is_still_a_page() -> None:
    def load(entry: Entry) -> Sample:
        raise DataError("It cannot be made.")

    page = page_of(Source("made", "made:1", (Entry("a"),), ("mask",), load, classes=("figure",)))
    assert "There are no usable samples to divide." in page
    assert "It cannot be made" in page


def test_depth_without_range_or_unit_has_a_scale() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    samples = {str(i): Sample(str(i), np.roll(image, i, 0), depth=np.full((4, 4), 2.0, np.float32)) for i in range(3)}
    source = Source(
        "made", "made:3", tuple(map(Entry, samples)), ("depth",), lambda e: samples[e.id], depth_unit="", depth_kind=""
    )
    assert "(unit not known)" in page_of(source)


def test_a_thumbnail_shows_class_colours_and_hatches_the_unknown() -> None:
    image = np.full((400, 300, 3), 100, np.uint8)
    mask = np.zeros((2, 400, 300), np.uint8)
    mask[0, 100:200, 100:200] = 1
    mask[1, 250:350, 100:200] = 1
    valid = np.ones((400, 300), bool)
    valid[:40] = False
    depth = np.full((200, 150), 3.0, np.float32)
    colours = class_colours(("a", "b"), 2)
    sample = Sample("x", image, mask=mask, mask_valid=valid, depth=depth)
    shown, over, deep = show_planes(sample, colours, 1.0, 5.0)
    assert (shown.height, shown.width) == (over.height, over.width) == (SIDE, 156)
    assert max(deep.height, deep.width) == 200
    import base64
    import io

    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(over.uri.split(",")[1])))).astype(int)
    for centre, colour in (((78, 78), colours[0]), ((156, 78), colours[1])):
        expected = 0.5 * colour + 0.5 * (255 - 0.85 * 155)
        assert np.abs(pixels[centre] - expected).max() < 12  # as JPEG
    assert set(np.unique(pixels[2:16, 20:100].round(-1))) <= set(range(min(HATCH) // 10 * 10 - 20, max(HATCH) + 30, 10))
    assert np.abs(pixels[120, 10] - (255 - 0.85 * 155)).max() < 8


def test_the_function_writes_the_page_and_nothing_over_another_file(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", 6)
    page = tmp_path / "pages" / "look.html"
    found = app_data.inspect(data, html=page)
    first = page.read_bytes()
    assert MARK.encode() in first
    assert found.usable == 6
    app_data.inspect(data, html=page, split="50/25/25")  # over its own page
    assert page.read_bytes() != first
    other = tmp_path / "mine.html"
    other.write_text("<html>mine</html>")
    with pytest.raises(OutputError, match="no page that inspect wrote"):
        app_data.inspect(data, html=other)
    assert other.read_text() == "<html>mine</html>"
    with pytest.raises(OutputError, match="is a folder"):
        check_place(tmp_path)


def test_a_broken_sample_is_passed_over_for_the_next(tmp_path: Path) -> None:
    data = write_folder(tmp_path, 30)
    files = sorted((data / "images").iterdir())
    files[0].write_bytes(files[0].read_bytes()[:60])
    page = page_of(read_folder(str(data), DataOptions()))
    assert page.count('<div class="planes-of">') >= 24


@pytest.mark.skipif(CHROMIUM is None, reason="needs the program chromium")
def test_a_browser_runs_nothing_and_misses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "look.html"
    path.write_text(page_of(hostile_source()), encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --disable-dev-shm-usage --enable-logging=stderr --dump-dom"
    command = [str(CHROMIUM), *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "<title>ran</title>" not in done.stdout
    assert "what is here</title>" in done.stdout
    assert "CONSOLE" not in done.stderr  # a violation of the page's policy, or a picture that is missing


def test_the_command_writes_the_page_and_says_what_leaks(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from basrelief.cli import app as command

    page = tmp_path / "look.html"
    done = CliRunner().invoke(command, ["inspect", "scenes:24", "--html", str(page), "--split", "50/25/25"])
    assert done.exit_code == 0, done.output
    assert f"Written: {page}" in done.output
    assert MARK in page.read_text()
    found = app_data.inspect("scenes:24", group_blocks=3)
    assert found.split["rule"] == "group"
    assert "3 blocks of neighbouring samples are kept whole." in found.split["notes"]
