"""The page as text: what it holds, what it must never hold."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from basrelief.report import LossRow, StudyContents, render_study

Study = Callable[..., StudyContents]
HOSTILE = "<script>alert(1)</script>\"'&{{ 7*7 }}</style>"


class Page(HTMLParser):
    """The parts of a page the tests ask for: tags with attributes, text outside scripts, the embedded figures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.figures: Any = []
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._open.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if not self._open:
            self.text += data
        elif self._open[-1][1].get("type") == "application/json":
            self.figures = json.loads(data, parse_constant=lambda name: pytest.fail(f"{name} in the page's JSON"))

    def count(self, tag: str, **attributes: str) -> int:
        return sum(
            name == tag and all(given.get(key.rstrip("_")) == value for key, value in attributes.items())
            for name, given in self.tags
        )


def test_the_sections_come_in_the_order_a_reader_needs_them(study: Study) -> None:
    text = Page(render_study(study())).text
    headings = ["Winner", "Read with care", "What was held fixed", "Test images, best", "The difference a − b"]
    headings += ["Validation images, by epoch", "The same 12 validation images", "Repeat this study"]
    places = [text.index(heading) for heading in headings]
    assert places == sorted(places)


def test_nothing_is_fetched_from_anywhere(study: Study) -> None:
    page = Page(render_study(study()))
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed")
        for name in ("src", "href", "srcset", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#")), (tag, name, value[:80])
    policy = [given["content"] for tag, given in page.tags if given.get("http-equiv") == "Content-Security-Policy"]
    assert policy
    assert policy[0] is not None
    assert "default-src 'none'" in policy[0]


def test_hostile_text_stays_text_wherever_a_user_can_write_it(study: Study) -> None:
    made = study(2, count=2, side=16, classes=2)
    assert made.pictures is not None
    harmless = render_study(made)
    name = made.losses[0].name
    pictures = replace(
        made.pictures,
        ids=[HOSTILE] * 2,
        classes=[HOSTILE] * 2,
        depth_unit=HOSTILE,
        predictions={HOSTILE: made.pictures.predictions[name]},
        scores={HOSTILE: made.pictures.scores[name]},
    )
    pair = dict(made.verdict["pairs"][0], a=HOSTILE, decision="a")
    page = Page(
        render_study(
            replace(
                made,
                title=HOSTILE,
                verdict={**made.verdict, "summary": HOSTILE, "winner": HOSTILE, "pairs": [pair]},
                losses=[replace(made.losses[0], name=HOSTILE, expression=HOSTILE + "x", failures=[HOSTILE])],
                curves=[replace(curve, loss=HOSTILE) for curve in made.curves],
                metrics=[replace(facts, unit=HOSTILE, meaning=HOSTILE) for facts in made.metrics],
                pictures=pictures,
                baselines={HOSTILE: {"mask/iou": 0.5}},
                warnings=[HOSTILE],
                notes=[HOSTILE],
                held_fixed=[(HOSTILE, HOSTILE)],
                data=[(HOSTILE, HOSTILE)],
                cost=[(HOSTILE, HOSTILE)],
                environment=[(HOSTILE, HOSTILE)],
                repeat=HOSTILE,
            )
        )
    )
    assert page.count("script") == Page(harmless).count("script")
    assert page.count("style") == 1
    assert page.text.count(HOSTILE) > 20
    # Plotly reads a little HTML in names: there the text is escaped once more.
    assert all("<" not in trace.get("name", "") for figure in page.figures for trace in figure["data"])


def test_one_seed_shows_dashes_and_no_interval(study: Study) -> None:
    page = Page(render_study(study(seeds=1)))
    assert "undecided" in page.text
    assert page.count("span", class_="interval") == 0
    assert page.count("i", class_="whisker") == 0
    assert page.count("i", class_="point") == 3


def test_a_loss_whose_trials_all_failed_keeps_its_row_and_comes_last(study: Study) -> None:
    made = study(2)
    failed = LossRow(
        "mse(mask)", "mse(mask)", {"mask/iou": (None, None, None)}, 0, 3, ["seed 0: not finite in epoch 2"]
    )
    html = render_study(replace(made, losses=[failed, *made.losses]))
    page = Page(html)
    table = html[html.index('<table class="losses">') :]
    table = table[: table.index("</table>")]
    assert table.index("mse(mask)") > table.index("bce(mask)")
    assert "seed 0: not finite in epoch 2" in page.text
    assert len({trace["meta"]["loss"] for trace in page.figures[0]["data"]}) == 2


def test_values_that_are_not_finite_become_gaps(study: Study) -> None:
    made = study(2, seeds=2, epochs=6)
    curves = [replace(curve, values=[0.1, float("nan"), None, float("inf"), 0.4, 0.5]) for curve in made.curves]
    scores = {"mask/iou": (float("nan"), None, None)}
    losses = [replace(row, scores=scores, seconds=float("nan")) for row in made.losses]
    assert made.pictures is not None
    pictures = replace(made.pictures, scores={row.name: [float("nan")] * 12 for row in losses})
    page = Page(render_study(replace(made, curves=curves, losses=losses, pictures=pictures)))
    line = page.figures[0]["data"][1]
    assert line["y"] == [0.1, None, None, None, 0.4, 0.5]
    band = page.figures[0]["data"][0]
    assert band["x"] == [1, 1, None, 5, 6, 6, 5]
    assert "nan" not in page.text.lower()


def test_bands_reach_from_the_lowest_to_the_highest_seed(study: Study) -> None:
    made = study(1, seeds=2, epochs=2)
    curves = [replace(c, values=[0.2 + 0.1 * c.seed, 0.6]) for c in made.curves if c.metric == "mask/iou"]
    band, line = Page(render_study(replace(made, curves=curves))).figures[0]["data"]
    assert np.allclose(line["y"], [0.25, 0.6])
    assert np.allclose(band["y"], [0.3, 0.6, 0.6, 0.2])


def test_lower_is_better_sorts_upward_and_turns_the_sides_of_the_forest(study: Study) -> None:
    made = study(classes=0)
    html = render_study(made)
    table = html[html.index('<table class="losses">') : html.index("</table>")]
    assert table.index("0.3100") < table.index("0.3300") < table.index("0.3500")
    assert "← a better" in html
    assert "in m" in Page(html).text


@pytest.mark.parametrize(
    ("options", "targets"),
    [
        ({"classes": 1, "depth": False}, "mask"),
        ({"classes": 0, "depth": True}, "depth"),
        ({"classes": 5, "depth": False}, "mask"),
        ({"classes": 1, "depth": True}, "mask depth"),
    ],
)
def test_every_kind_of_target_gets_its_pictures(study: Study, options: dict[str, Any], targets: str) -> None:
    html = render_study(study(count=2, side=16, **options))
    page = Page(html)
    for target in ("mask", "depth"):
        assert page.count("div", class_=f"shown show-{target}") == (2 if target in targets else 0)
        assert page.count("div", class_=f"shown show-{target} has-error") == (6 if target in targets else 0)
    assert page.count("input", name="target") == (2 if " " in targets else 0)
    assert ("person" in page.text) == (options["classes"] == 5)


def test_a_study_with_almost_nothing_in_it_still_makes_a_page(study: Study) -> None:
    bare = StudyContents("t", {"primary": "mask/iou"}, [], [], [], None)
    page = Page(render_study(bare))
    assert "Nothing to compare" in page.text
    one = Page(render_study(study(1, pictures=None, epochs=1)))
    assert one.count("table", class_="forest") == 0
    assert one.count("table", class_="wall") == 0
    assert one.figures[0]["data"][0]["error_y"]["array"]


def test_every_figure_is_one_that_plotly_knows(study: Study) -> None:
    graph_objects = pytest.importorskip("plotly.graph_objects")
    text = json.dumps(Page(render_study(study(8, pictures=None))).figures)
    for name in ("ink", "muted", "rule", "panel", *(f"loss-{n}" for n in range(8))):
        text = text.replace(f"var(--{name})/0.14", "red").replace(f"var(--{name})", "red")
    for figure in json.loads(text):
        graph_objects.Figure(figure)


def test_eight_losses_by_five_seeds_stay_under_fifteen_megabytes(full: Study) -> None:
    # Noise packs worse than any photograph.
    assert len(render_study(full(8, seeds=5, count=24, side=224)).encode()) < 15e6


def test_large_pictures_are_thinned_and_the_page_says_so(study: Study) -> None:
    made = study(2, count=6, side=512)
    html = render_study(made)
    assert "One pixel in 2 is shown" in html
    assert len(html.encode()) < 15e6


def test_importing_the_report_does_not_import_plotly() -> None:
    code = "import sys, basrelief.report; sys.exit(any(m in sys.modules for m in ('plotly', 'jinja2', 'PIL', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
