"""The page in a browser: an image goes in, the right result is seen and taken home, and nothing else happens."""

from __future__ import annotations

import io
import json
import os
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image

from basrelief.inference.predictor import Predictor
from basrelief.serving import page as page_module
from basrelief.serving.app import make_app
from basrelief.serving.limits import Limits
from chromium import CHROMIUM, Browser
from serving import served

pytest.importorskip("gradio")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs the program chromium to run the page's scripts"),
    pytest.mark.filterwarnings("ignore::Warning:gradio"),  # of how it calls its own libraries
    pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning"),
]
LIMITS = Limits(max_bytes=1 << 20, max_pixels=1_000_000)
DROP = "#picture input[type=file]"
THERE = f"document.querySelector('{DROP}')"
SHARES = "[...document.querySelectorAll('#shares [data-share]')].map((one) => Number(one.dataset.share))"
SAID = "document.querySelector('#said').innerText.trim()"
ALERT = "document.querySelector('#said [role=alert]')"
TOAST = "document.querySelector('.toast-body')"
# An image of the page as its pixels, row by row: [width, height, [r, g, b, a, …]].
PIXELS = """(async () => {
  const image = document.querySelector('%s img');
  await image.decode();
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return [canvas.width, canvas.height, [...data]];
})()"""


class Server:
    """A server in a thread of this process, at an address of its own."""

    def __init__(self, predictor: Predictor, **options: Any) -> None:
        app = make_app(predictor, LIMITS, title="a run", **options)
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", timeout_graceful_shutdown=1))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        end = time.monotonic() + 30
        while not self._server.started:
            assert self._thread.is_alive()
            assert time.monotonic() < end
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("browser")
    with Browser(folder) as opened:
        opened.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        yield opened


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures to upload: a ramp from black to white, and its mirror image, 96 x 64."""
    folder = tmp_path_factory.mktemp("images")
    ramp = np.repeat(np.linspace(0, 255, 96).astype(np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    Image.fromarray(ramp).save(folder / "ramp.png")
    Image.fromarray(ramp[:, ::-1]).save(folder / "mirrored.png")
    return folder


def _started(**options: Any) -> Callable[[], Iterator[Server]]:
    facts = options.pop("facts", {})

    def start() -> Iterator[Server]:
        server = Server(served.predictor(**facts), **options)
        yield server
        server.close()

    return start


one = pytest.fixture(scope="module", name="one")(_started())
two = pytest.fixture(scope="module", name="two")(
    _started(facts={"classes": ["near", "far"], "targets": ["mask"], "heads": ["mask"]})
)


@pytest.fixture
def page(browser: Browser, one: Server) -> Iterator[Browser]:
    yield from _opened(browser, one)


def _opened(browser: Browser, server: Server) -> Iterator[Browser]:
    browser.open("about:blank", "true")  # what another test's page still asks for is not this one's
    browser.requests.clear()
    browser.size(1280, 900)
    browser.open(server.url, THERE)
    yield browser
    assert browser.errors == []
    ours = (server.url, "data:", "blob:", "about:")
    assert [address for address in browser.requests if not address.startswith(ours)] == []


def drop(page: Browser, file: Path) -> None:
    """Drop a file on the page, and wait until what was said or shown before is gone or new."""
    page.wait(THERE)
    page.run("document.querySelectorAll('#said .notice, #shares .legend').forEach((one) => (one.innerHTML = ''))")
    page.run("document.querySelector('#said [role=alert]')?.removeAttribute('role')")
    page.upload(DROP, file)


def pixels(page: Browser, selector: str) -> np.ndarray:
    width, height, values = page.run(PIXELS % selector)
    return np.array(values, np.uint8).reshape(height, width, 4)[..., :3]


def test_an_upload_shows_the_predictors_mask_cutout_and_depth(page: Browser, images: Path) -> None:
    assert "Mask of the figure and depth in m" in page.run("document.querySelector('h1').innerText")
    drop(page, images / "ramp.png")
    page.wait(f"({SHARES}).length && document.querySelector('#depth .hm')")
    with Image.open(images / "ramp.png") as picture:
        image = np.asarray(picture)
        expected = served.predictor()(picture)
    assert expected.mask is not None
    assert page.run(SHARES) == [pytest.approx(expected.mask.mean(), abs=1e-6)]
    overlay, cutout = pixels(page, "#overlay"), pixels(page, "#cutout")
    assert np.array_equal((overlay != image).any(axis=2), expected.mask)
    assert expected.probability is not None
    sure, surely_not = expected.probability > 0.91, expected.probability < 0.09
    assert np.array_equal(cutout[sure], image[sure])
    assert set(cutout[surely_not].ravel().tolist()) == {205, 255}
    left, top, width, height = page.place("#depth .plotly .nsewdrag")
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=left + width / 2, y=top + height / 2)
    page.wait("document.querySelector('#depth .hoverlayer text')")
    told = page.run("document.querySelector('#depth .hoverlayer text').textContent")
    assert expected.depth is not None
    assert float(told.split(" m")[0]) == pytest.approx(float(expected.depth[32, 48]), abs=0.1)


def test_the_threshold_moves_the_mask_without_the_network(
    page: Browser, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(page, images / "ramp.png")
    page.wait(f"({SHARES}).length")
    before, probability = page.run(SHARES)[0], served_probability(images / "ramp.png")
    monkeypatch.setattr(Predictor, "__call__", lambda *_: pytest.fail("the network was run"))
    page.run("document.querySelector('#level input[type=range]').focus()")
    page.press("End")
    page.wait(f"({SHARES})[0] < {before} - 0.4")
    page.wait(f"Math.abs(({SHARES})[0] - {(probability > np.float32(0.99)).mean()}) < 1e-6")


def served_probability(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(served.predictor()(picture).probability)


def test_the_download_holds_the_predictors_mask_at_the_pages_threshold(
    page: Browser, browser: Browser, images: Path, tmp_path: Path
) -> None:
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.wait("document.querySelector('#take')?.disabled")
    drop(page, images / "mirrored.png")
    page.wait(f"({SHARES}).length && !document.querySelector('#take').disabled")
    before = page.run(SHARES)[0]
    page.run("document.querySelector('#level input[type=range]').focus()")
    page.press("ArrowLeft")
    page.wait(f"({SHARES})[0] > {before}")
    page.click("#take")
    file = tmp_path / "mirrored.zip"
    page.wait_until(file.exists)
    with zipfile.ZipFile(file) as archive:
        mask = np.asarray(Image.open(io.BytesIO(archive.read("mask.png"))))
        facts = json.loads(archive.read("result.json"))
        assert {"mask.png", "soft.png", "cutout.png", "depth.png", "preview.png"} <= set(archive.namelist())
    expected = served_probability(images / "mirrored.png") > np.float32(0.49)
    assert np.array_equal(mask, expected.astype(np.uint8) * 255)
    assert facts["areas"] == {"figure": int(expected.sum())}


def test_hostile_uploads_are_refused_in_words_and_the_next_good_one_works(
    page: Browser, images: Path, tmp_path: Path
) -> None:
    good = (images / "ramp.png").read_bytes()
    frames = [Image.fromarray(np.full((8, 8, 3), grey, np.uint8)) for grey in (0, 90, 180)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    (tmp_path / "drawing.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    (tmp_path / "cut.png").write_bytes(good[: len(good) // 2])
    (tmp_path / "words.png").write_bytes(b"hello")
    (tmp_path / "bomb.png").write_bytes(_png_header(60_000, 60_000))
    Image.new("1", (4000, 4000)).save(tmp_path / "wide.png")
    for name, words in {
        "drawing.svg": "SVG",
        "moving.webp": "animation",
        "cut.png": "truncated",
        "words.png": "text",
        "bomb.png": "60,000",
        "wide.png": "4,000",
    }.items():
        drop(page, tmp_path / name)
        page.wait(ALERT)
        assert words in page.run(SAID), name
        assert not page.run("!!document.querySelector('#overlay img')"), name
    for name, content, words in (
        ("heavy.png", good + bytes(LIMITS.max_bytes), "exceed the maximum allowed size of 1.0 Mb"),
        ("program.exe", b"MZ", "Only image/* allowed"),
    ):
        (tmp_path / name).write_bytes(content)
        page.upload(DROP, tmp_path / name)
        page.wait(f"{TOAST}?.innerText.includes('{words}')")
        page.click(".toast-close")
        page.wait(f"!{TOAST} && {THERE}")
    drop(page, images / "ramp.png")
    page.wait(f"({SHARES}).length && document.querySelector('#overlay img')")
    assert page.run(SAID) == ""


def _png_header(width: int, height: int) -> bytes:
    parts = b"\x89PNG\r\n\x1a\n"
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(9999))),
        (b"IEND", b""),
    ):
        parts += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return parts


def test_classes_have_colours_levels_and_a_choice(browser: Browser, two: Server, images: Path) -> None:
    for page in _opened(browser, two):
        drop(page, images / "ramp.png")
        page.wait(f"({SHARES}).length == 2 && ({SHARES})[0] > 0")
        assert page.run(SHARES)[1] == 0  # as probable as the first, which wins
        page.click("#choice label:nth-of-type(3) input")
        page.wait(f"({SHARES})[0] == 0 && ({SHARES})[1] > 0")
        both = page.run(SHARES)[1]
        page.run("document.querySelector('#level input[type=range]').focus()")
        page.press("End")
        page.wait(f"({SHARES})[1] < {both} - 0.4")
        page.click("#choice label:nth-of-type(2) input")  # the other class kept its level
        page.wait(f"({SHARES})[0] == {both}")
        assert page.run("Number(document.querySelector('#level input[type=range]').value)") == 0.5


def test_with_a_background_both_are_asked_for_and_an_example_brings_both(
    browser: Browser, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def examples(_predictor: Predictor, _home: Path | None, folder: Path) -> list[tuple[Path, ...]]:
        for name in ("ramp", "mirrored"):
            (folder / f"{name}.png").write_bytes((images / f"{name}.png").read_bytes())
        return [(folder / "ramp.png", folder / "mirrored.png")]

    monkeypatch.setattr(page_module, "write_examples", examples)
    server = Server(served.predictor(background=True))
    try:
        for page in _opened(browser, server):
            drop(page, images / "ramp.png")
            page.wait(f"({SAID}).startsWith('Now the background')")
            page.upload("#behind input[type=file]", images / "ramp.png")
            page.wait(f"({SHARES}).length")
            assert page.run(SHARES) == [0]  # nothing differs from the background
            page.click("#examples button.gallery-item")
            page.wait(f"({SHARES})[0] > 0.3")
            page.click("#behind button[aria-label='Remove Image']")
            page.wait(f"({SAID}).startsWith('Now the background') && !document.querySelector('#overlay img')")
    finally:
        server.close()


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_is_wider_than_the_screen(page: Browser, images: Path, dark: bool) -> None:
    page.size(390, 844, dark=dark)
    drop(page, images / "ramp.png")
    page.wait(f"({SHARES}).length && document.querySelector('#depth .hm')")
    assert page.run("document.documentElement.scrollWidth") == 390
    widest = (
        "Math.max(...[...document.querySelectorAll('#results .block')].map((one) => one.getBoundingClientRect().right))"
    )
    assert page.run(widest) <= 390


def test_the_token_opens_the_page_another_visitor_sees_nothing_of_it_and_files_go_with_the_server(
    browser: Browser, images: Path
) -> None:
    server = Server(served.predictor(), token="abcdefgh")
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    assert folder.name.startswith("basrelief-page-")
    browser.open(f"{server.url}?token=abcdefgh", THERE)
    drop(browser, images / "ramp.png")
    browser.wait(f"({SHARES}).length")
    assert browser.run("location.href") == server.url
    assert list(folder.rglob("upload.png"))
    browser.open(server.url, THERE)
    browser.wait("document.querySelector('#take')?.disabled && !document.querySelector('#overlay img')")
    server.close()
    # Browsers ask for the manifest of an app without the cookie, and do without it.
    assert [error for error in browser.errors if "manifest" not in error] == []
    assert not folder.exists()


def test_without_gradio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gradio", None)
    with pytest.raises(page_module.MissingExtraError, match=r"basrelief\[serve\]"):
        make_app(served.predictor())
