"""The pages of an evaluation and of a comparison: whole, offline, escaped, and usable in a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from basrelief.report import MetricFacts, Pictures, render_comparison, render_evaluation
from chromium import CHROMIUM, Browser

HOSTILE = '<img src=x onerror="throw 1">&"'
FACTS = [
    MetricFacts("mask/iou", True, "", "Shared area over joint area."),
    MetricFacts("mask/iou_pooled", True, "", "All images together.", main=False),
    MetricFacts("depth/rmse", False, "m", "Root of the mean squared error."),
]


def pictures(names: list[str], count: int = 5) -> Pictures:
    rng = np.random.default_rng(0)
    mask = (rng.random((count, 2, 24, 32)) < 0.3).astype(np.uint8)
    return Pictures(
        ids=[f"{HOSTILE} {n}" for n in range(count)],
        image=rng.integers(0, 256, (count, 24, 32, 3), dtype=np.uint8),
        predictions={name: {"mask": rng.integers(0, 256, mask.shape, dtype=np.uint8)} for name in names},
        scores={name: [0.9 - 0.1 * n for n in range(count)] for name in names},
        seed=0,
        mask=mask,
        classes=("cup", HOSTILE),
    )


def evaluation(**changes: Any) -> dict[str, Any]:
    bins = [{"low": n / 15, "high": (n + 1) / 15, "share": 1 / 15, "predicted": (n + 0.5) / 15, "observed": n / 15}
            for n in range(15)]  # fmt: skip
    return {
        "run": f"/runs/{HOSTILE}", "note": HOSTILE, "on": f"{HOSTILE}, test images", "primary": "mask/iou",
        "metrics": {"mask/iou": 0.75, "mask/iou_pooled": 0.7, "depth/rmse": None},
        "intervals": {"mask/iou": [0.7, 0.8], "mask/iou_pooled": None, "depth/rmse": None},
        "level": 0.95, "refused": {"depth/mae": HOSTILE}, "counts": {"images": 5, "mask_empty": 1}, "images": 5,
        "groups": 3, "seen": 2, "notes": [], "failed": {"x": f"{HOSTILE}: broken"}, "definitions": 2,
        "depth_unit": "m", "mask_threshold": [0.5, 0.4],
        "strata": [{"kind": "figure", "name": "small", "meaning": "up to 2 %", "images": 3, "groups": 3, "mean": 0.7,
                    "interval": None}],
        "calibration": {"ece": 0.03, "classes": [{"name": name, "ece": 0.03, "pixels": 100, "bins": bins}
                                                 for name in ("cup", HOSTILE)]},
        "threshold": {"used": [0.5, 0.4], "stored": {"best": [0.5, 0.3], "score": [0.8, None], "at_half": [0.7, None]},
                      "thresholds": [0.25, 0.5, 0.75], "iou": {"cup": [0.2, 0.6, 0.4], HOSTILE: [0.3, 0.3, 0.3]}},
    } | changes  # fmt: skip


def comparison(**changes: Any) -> dict[str, Any]:
    pair = {"a": 0.8, "b": 0.7, "difference": 0.1, "low": 0.05, "high": 0.15}
    return {
        "a": {"run": "/runs/a", "name": f"a{HOSTILE}", "note": "", "mean": 0.8},
        "b": {"run": "/runs/b", "name": "b", "note": HOSTILE, "mean": 0.7},
        "metric": "mask/iou", "decision": "a", "summary": f"{HOSTILE} is better.", "level": 0.95, "margin": 0.005,
        "notes": [], "failed": {}, "on": "data", "images": 5, "groups": 5, "seen": 0, "refused": {},
        "metrics": {facts.name: pair for facts in FACTS},
    } | changes  # fmt: skip


def pages() -> dict[str, str]:
    names = [f"a{HOSTILE}", "b"]
    pairs = [(0.9, 0.8), (0.5, 0.6), (0.7, 0.7)]
    return {
        "evaluation": render_evaluation(evaluation(), FACTS, pictures(["net"]), repeat="basrelief evaluate run"),
        "plain": render_evaluation(evaluation(calibration=None, threshold=None, mask_threshold=None), FACTS, None),
        "comparison": render_comparison(comparison(), FACTS, pairs, pictures(names)),
        "undecided": render_comparison(comparison(decision="undecided"), FACTS, [(0.5, 0.5)], None),
    }


@pytest.mark.parametrize("name", ["evaluation", "plain", "comparison", "undecided"])
def test_pages_fetch_nothing_and_escape_what_users_typed(name: str) -> None:
    page = pages()[name]
    assert "<img src=x" not in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert "default-src 'none'" in page
    assert not re.search(
        r"\b(nan|None|undefined)\b", re.sub(r"<(script|style)>.*?</\1>|data:[^\"]*", "", page, flags=re.S)
    )


def test_the_page_says_what_its_numbers_rest_on() -> None:
    page = pages()["evaluation"]
    assert "5 images in 3 groups" in page
    assert "nothing of the same training with another seed" in page
    assert "do not choose a threshold here" in page
    assert "have an empty true mask" in page
    assert "used and best on validation, 0.5" in page
    assert "best on validation, 0.3" in page
    assert "a leads on 1, b on 1; on 1 they are the same." in pages()["comparison"]


@pytest.mark.skipif(CHROMIUM is None, reason="needs the program chromium to run the page's scripts")
def test_in_a_browser_they_run_without_an_error_and_fit_a_phone(tmp_path: Path) -> None:
    with Browser(tmp_path) as browser:
        for name, page in pages().items():
            file = tmp_path / f"{name}.html"
            file.write_text(page, encoding="utf-8")
            for width in (1280, 390):
                browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1,
                             mobile=False)  # fmt: skip
                browser.open(file.as_uri())
                assert browser.errors == []
                assert browser.run("document.documentElement.dataset.errors || ''") == ""
                assert browser.run("document.documentElement.scrollWidth") <= width
        browser.open((tmp_path / "comparison.html").as_uri() + "#sort=ahead:b")
        assert browser.run("document.querySelector('select[name=sort]').value") == "ahead:b"
        assert browser.run("[...document.querySelectorAll('#wall tbody tr')].filter((row) => !row.hidden).length") == 5
