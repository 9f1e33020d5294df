"""The page under a hand: its filter, its slider, its error maps, and what a printer gets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from basrelief.report import StudyContents, render_study
from chromium import CHROMIUM, Browser

Study = Callable[..., StudyContents]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the program chromium to run the page's scripts")
SHOWN = "[...document.querySelectorAll('#wall thead th')].filter((one) => !one.hidden).map((one) => one.dataset.part)"
ROWS = "[...document.querySelectorAll('#wall tbody tr')].filter((one) => !one.hidden).map((one) => one.dataset.id)"
DIVIDER = "document.querySelector('#divider').value"
AT = f"[Number({DIVIDER}), document.querySelector('.stage').style.getPropertyValue('--at')]"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, full: Study, tmp_path: Path) -> Iterator[Browser]:
    path = tmp_path / "report.html"
    path.write_text(render_study(full(3, side=24, count=5, epochs=4)), encoding="utf-8")
    browser.open(path.as_uri())
    yield browser
    assert browser.errors == []
    assert browser.run("document.documentElement.dataset.errors ?? ''") == ""


def seen(page: Browser, selector: str) -> bool:
    found: bool = page.run(f"document.querySelector({selector!r}).getClientRects().length > 0")
    return found


def test_a_name_switches_its_loss_off_and_on_in_plots_cards_and_pictures(page: Browser) -> None:
    lines = "document.querySelectorAll('.curve .trace.scatter').length"
    before = page.run(lines)
    page.click(".legend button[data-loss='1']")
    assert page.run(SHOWN) == ["image", "background", "truth", "loss-0", "loss-2"]
    assert page.run("[...document.querySelectorAll('.card[data-loss=\"1\"]')].every((one) => one.hidden)")
    assert page.run("location.hash") == "#hide=1"
    pressed = "[...document.querySelectorAll('.legend button[data-loss=\"1\"]')].map((one) => one.ariaPressed)"
    assert set(page.run(pressed)) == {"false"}
    # A line in the scores and one in the differences; a line and a band in each of the four metrics.
    assert page.run(lines) == before - 2 - 4 * 2
    page.run("document.querySelector('.legend button[data-loss=\"1\"]').focus()")
    page.press(" ")
    assert page.run(SHOWN) == ["image", "background", "truth", "loss-0", "loss-1", "loss-2"]
    assert page.run("location.hash") == ""


def test_sorting_by_disagreement_leaves_out_losses_that_are_off(browser: Browser, full: Study, tmp_path: Path) -> None:
    made = full(3, side=16, count=3, epochs=3)
    assert made.pictures is not None
    names = [row.name for row in made.losses]
    scores: dict[str, Any] = dict(zip(names, ([0.9, 0.9, 0.9], [0.8, 0.7, 0.6], [0.1, 0.5, 0.55]), strict=True))
    path = tmp_path / "report.html"
    path.write_text(render_study(replace(made, pictures=replace(made.pictures, scores=scores))), encoding="utf-8")
    ids = list(made.pictures.ids)
    browser.open(f"{path.as_uri()}#sort=disagree")
    assert browser.run(ROWS) == ids
    browser.open(f"{path.as_uri()}#sort=disagree&hide=2")
    assert browser.run(ROWS) == ids[::-1]


def test_the_divider_moves_by_keys(page: Browser) -> None:
    assert page.run(AT) == [50, "50%"]
    page.run("document.querySelector('#divider').focus()")
    page.press("ArrowRight")
    page.press("ArrowRight")
    assert page.run(AT) == [52, "52%"]
    page.press("Home")
    assert page.run(AT) == [0, "0%"]
    page.press("End")
    assert page.run("getComputedStyle(document.querySelector('.stage .over')).clipPath") == "inset(0px 0% 0px 0px)"


def test_the_divider_follows_a_pointer(page: Browser) -> None:
    left, top, width, height = page.place(".stage")
    page.drag((left + width / 2, top + height / 2), (left + width / 4, top + height / 3))
    value, at = page.run(AT)
    assert 23 <= value <= 27
    assert at == f"{value}%"


def test_the_divider_lies_between_the_pictures_that_were_chosen(page: Browser) -> None:
    page.run(
        "(() => { const form = document.getElementById('controls').elements; form.left.value = 'image';"
        "form.right.value = 'truth'; form.right.dispatchEvent(new Event('input')); })()"
    )
    other = (int(page.run("document.getElementById('controls').elements.image.value")) + 1) % 5
    page.run(f"document.querySelectorAll('button.pick')[{other}].focus()")
    page.press("Enter")
    row = f"document.querySelectorAll('#wall tbody tr')[{other}]"
    same = f"document.querySelector('.stage .{{0}}').src === {row}.{{1}}.src"
    assert page.run(same.format("over", "querySelector('th img')"))
    assert page.run(same.format("under", "cells[2].querySelector('img')"))
    assert f"image={other}" in page.run("location.hash")


def test_error_maps_take_the_place_of_predictions_with_their_own_key(page: Browser) -> None:
    assert seen(page, "#wall td .show-mask.has-error .pred")
    assert not seen(page, ".classes.for-error")
    page.click("input[name=view][value=error]")
    assert not seen(page, "#wall td .show-mask.has-error .pred")
    assert seen(page, "#wall td .show-mask.has-error .err")
    assert seen(page, ".classes.for-error")
    assert page.run("document.querySelector('.stage .over').alt").startswith("errors of the mask")
    page.click("input[name=target][value=depth]")
    assert seen(page, "#wall td .show-depth.has-error .err")
    assert seen(page, ".scale.for-error")
    assert not seen(page, ".classes.for-error")
    assert page.run("location.hash") == "#target=depth&view=error"


def test_a_printer_gets_every_picture_and_pair_and_no_controls(page: Browser) -> None:
    page.run(
        "addEventListener('beforeprint', () => { const all = [...document.querySelectorAll('details')];"
        "window.folded = all.filter((one) => !one.open).length; })"
    )
    printed = page.print()
    assert printed.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) > 1
    assert page.run("window.folded") == 0
    page.call("Emulation.setEmulatedMedia", media="print")
    try:
        for part in (".controls", ".compare", "nav"):
            assert not seen(page, part)
        assert seen(page, "#wall tbody tr:last-child")
    finally:
        page.call("Emulation.setEmulatedMedia", media="")


def test_a_phone_has_no_page_wider_than_itself(browser: Browser, full: Study, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render_study(full(8, side=16, count=3, epochs=3)), encoding="utf-8")
    browser.call("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
    try:
        browser.open(path.as_uri())
        assert browser.run("document.documentElement.scrollWidth") <= 390
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")
