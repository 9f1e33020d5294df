"""Studies made up for the report's tests: discs on a slope, with predictions that get worse from loss to loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from basrelief.report import (
    Curve,
    LossCost,
    LossRow,
    MetricFacts,
    Pictures,
    RateSearch,
    Spread,
    StudyContents,
    TermCurve,
)

NAMES = (
    "bce(mask) + 2*dice(mask)",
    "bce(mask)",
    "focal(mask, gamma=2)",
    "tversky(mask, alpha=0.3, beta=0.7)",
    "lovasz(mask)",
    "dice(mask)",
    "mse(mask)",
    "boundary(mask) + 0.5*bce(mask) + 2*rmse(depth) + ssim(depth, window=11)",
)
MASK_METRICS = (
    MetricFacts("mask/iou", True, "", "Shared area over joint area of prediction and truth, of each image, averaged."),
    MetricFacts("mask/dice", True, "", "Twice the shared area over the sum of both areas, of each image, averaged."),
)
DEPTH_METRICS = (
    MetricFacts("depth/rmse", False, "m", "Root of the mean squared error over known pixels, of each image."),
    MetricFacts("depth/delta1", True, "", "Share of pixels within a factor of 1.25 of the truth."),
)


def make_pictures(
    names: Sequence[str], *, count: int = 12, side: int = 64, classes: int = 1, depth: bool = True
) -> Pictures:
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:side, 0:side] / side
    background = np.stack([0.35 + 0.3 * x, 0.5 + 0.1 * y, 0.6 - 0.2 * x], axis=-1)
    slope = 3.0 + 2.5 * (1 - y)
    images, masks, depths = [], [], []
    soft: dict[str, list[np.ndarray]] = {name: [] for name in names}
    guessed: dict[str, list[np.ndarray]] = {name: [] for name in names}
    scores: dict[str, list[float]] = {name: [] for name in names}
    for n in range(count):
        image, near = background.copy(), slope.copy()
        planes = np.zeros((max(classes, 1), side, side))
        for k in range(max(classes, 1)):
            cx, cy, radius = *rng.uniform(0.25, 0.75, 2), rng.uniform(0.1, 0.22)
            disc = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
            planes[:, disc] = 0
            planes[k, disc] = 1
            near[disc] = 1.2 + 0.3 * k + 2 * ((x - cx) ** 2 + (y - cy) ** 2)[disc]
            image[disc] = rng.uniform(0.2, 0.95, 3)
        for place, name in enumerate(names):
            shift = 1 + place + n % 3
            smooth = sum(np.roll(planes, (i, j), (1, 2)) for i in range(-2, 3) for j in range(-2, 3)) / 25
            guess = np.clip(np.roll(smooth, shift, axis=2) + rng.normal(0, 0.04 + 0.02 * place, smooth.shape), 0, 1)
            soft[name].append(guess)
            guessed[name].append(np.roll(near, shift, axis=1) + rng.normal(0, 0.1, near.shape))
            both, either = (guess > 0.5) & (planes > 0), (guess > 0.5) | (planes > 0)
            scores[name].append(float(both.sum() / max(either.sum(), 1)))
        images.append(np.clip(image + rng.normal(0, 0.02, image.shape), 0, 1))
        known = planes.astype(np.uint8)
        if n % 4 == 1:
            known[:, :6, :] = 255
        near = near.astype(np.float32)
        near[-5:, : side // 3] = np.nan
        masks.append(known)
        depths.append(near)

    predictions: dict[str, dict[str, np.ndarray]] = {}
    for name in names:
        predictions[name] = {}
        if classes:
            predictions[name]["mask"] = np.rint(255 * np.array(soft[name])).astype(np.uint8)
        if depth:
            predictions[name]["depth"] = np.array(guessed[name], dtype=np.float32)
    return Pictures(
        ids=[f"room_{n:02d}/frame_{17 * n:04d}" for n in range(count)],
        image=np.rint(255 * np.array(images)).astype(np.uint8),
        background=np.rint(255 * np.array([background] * count)).astype(np.uint8),
        mask=np.array(masks) if classes else None,
        depth=np.array(depths) if depth else None,
        predictions=predictions,
        scores=scores,
        seed=0,
        classes=("person", "chair", "plant", "lamp", "cat")[:classes],
        depth_unit="m",
    )


def make_study(
    losses: int = 3,
    *,
    seeds: int = 3,
    epochs: int = 30,
    classes: int = 1,
    depth: bool = True,
    count: int = 12,
    side: int = 64,
    **changes: Any,
) -> StudyContents:
    rng = np.random.default_rng(3)
    names = NAMES[:losses]
    metrics = (MASK_METRICS if classes else ()) + (DEPTH_METRICS if depth else ())
    rows, curves = [], []
    for place, name in enumerate(names):
        scores = {}
        for facts in metrics:
            mean = (0.87 - 0.013 * place) if facts.higher_is_better else 0.31 + 0.02 * place
            width = 0.006 + 0.002 * place
            scores[facts.name] = (mean, mean - width, mean + width) if seeds > 1 else (mean, None, None)
            for seed in range(seeds):
                t = np.arange(1, epochs + 1)
                rise = 1 - np.exp(-t / (4 + 2 * place))
                noise = rng.normal(0, 0.008, epochs)
                values = mean * rise + noise if facts.higher_is_better else mean + 0.5 * (1 - rise) + noise
                curves.append(Curve(name, seed, facts.name, t.tolist(), values.tolist()))
        rows.append(
            LossRow(
                name=name,
                expression=name,
                scores=scores,
                seeds=seeds,
                failed=0,
                best_epochs=[max(1, epochs - 2 * s) for s in range(seeds)],
                rising=place == 2,
                seconds=83.0 + 11 * place,
            )
        )
    primary = metrics[0]
    sign = 1 if primary.higher_is_better else -1
    pairs = []
    for i in range(losses):
        for j in range(i + 1, losses):
            difference = sign * 0.013 * (j - i)
            wide = 0.009 if (i, j) != (1, 2) else 0.02
            decision = "undecided" if seeds == 1 or wide > abs(difference) else "a"
            pairs.append(
                {
                    "a": names[i],
                    "b": names[j],
                    "difference": difference,
                    "ci": [difference - wide, difference + wide] if seeds > 1 else [None, None],
                    "decision": decision,
                    "more_seeds": 4 if decision == "undecided" and seeds > 1 else None,
                }
            )
    winner = names[0] if seeds > 1 and losses > 1 else None
    summary = (
        f"{names[0]} is better than every other loss on {primary.name}: 0.870 (0.864 to 0.876) over {seeds} seeds."
        if winner
        else "One seed gives no interval, so nothing is decided; run at least 2 more seeds."
    )
    fields: dict[str, Any] = {
        "title": "Which loss for kitchen scenes?",
        "verdict": {
            "primary": primary.name,
            "losses": [],
            "pairs": pairs,
            "winner": winner,
            "summary": summary,
            "margin": 0.005,
        },
        "metrics": metrics,
        "losses": rows,
        "curves": curves,
        "pictures": make_pictures(names, count=count, side=side, classes=classes, depth=depth),
        "baselines": {"mean mask": {metrics[0].name: 0.412}, "all figure": {metrics[0].name: 0.218}} if classes else {},
        "warnings": (
            "focal(mask, gamma=2) was still improving when training ended; longer training may change its place.",
            "The losses were compared at one learning rate; each may have a better one of its own.",
        ),
        "notes": ("The split keeps frames of one room together.",),
        "held_fixed": (
            ("network", "resunet"),
            ("resolution", f"{side} × {side}"),
            ("learning rate", "1e-3, one for all losses"),
            ("optimizer", "AdamW, weight decay 0.01"),
            ("epochs", str(epochs)),
            ("batch size", "16"),
            ("augmentation", "flip, crop, colour"),
            ("initial weights", "none (random), equal in every trial of a seed"),
            ("checkpoint", f"best {primary.name} on val"),
            ("precision", "bf16"),
        ),
        "data": (
            ("source", "rooms/"),
            ("images", "412"),
            ("train / val / test", "288 / 62 / 62"),
            ("groups", "37 rooms"),
        ),
        "cost": (("trials", f"{losses * seeds}"), ("wall time", "14 min 20 s"), ("images per second", "412")),
        "environment": (("basrelief", "0.1.0"), ("torch", "2.8.0"), ("device", "CPU, 2 threads")),
        "repeat": "basrelief study rooms/ --loss 'bce(mask) + 2*dice(mask)' --loss 'bce(mask)' --seeds 3 --seed 0",
    }
    return StudyContents(**(fields | changes))


def make_full(losses: int = 3, *, seeds: int = 3, epochs: int = 20, **options: Any) -> StudyContents:
    """A study whose verdict says everything that one can say."""
    rng = np.random.default_rng(5)
    made = make_study(losses, seeds=seeds, epochs=epochs, **options)
    names = [row.name for row in made.losses]
    verdict: dict[str, Any] = dict(made.verdict) | {"factor": "loss", "chosen_on_val": names[0], "confirmed": True}
    verdict["pairs"] = [
        pair
        | {
            "bootstrap_ci": [None if end is None else 1.2 * end for end in pair["ci"]],
            "seeds": seeds,
            "more_seeds_range": [2, 15] if pair["more_seeds"] else None,
            "more_images": 240 if pair["more_seeds"] else None,
            "more_images_range": [90, None] if pair["more_seeds"] else None,
            "hangs_on": {"seed": 2} if number == 1 else None,
        }
        for number, pair in enumerate(made.verdict["pairs"])
    ]
    verdict["strata"] = [
        {
            "kind": kind,
            "name": name,
            "meaning": meaning,
            "images": images,
            "groups": groups,
            "losses": [
                {"name": one, "mean": 0.8 - 0.02 * place, "ci": [0.7, 0.9] if images > 4 else [None, None]}
                for place, one in enumerate(names)
            ],
            "best": names[0],
            "winner": names[0] if images > 20 else None,
            "holds": holds,
            "tau": 1.0,
            "exploratory": True,
        }
        for kind, name, meaning, images, groups, holds in (
            ("figure", "empty", "no figure at all", 3, 3, None),
            ("figure", "small", "figure on up to 4.2 % of the image", 31, 12, False),
            ("figure", "large", "figure on 4.2 % of the image or more", 31, 31, True),
        )
    ]
    verdict["ranking"] = {
        "holds": False,
        "metrics": [
            {"metric": facts.name, "order": names, "winner": names[0], "tau": 0.67, "holds": number != 1}
            for number, facts in enumerate(made.metrics)
        ],
    }
    figure = {"median": 0.0312, "lowest": 0.02, "highest": 0.041}
    verdict["behaviour"] = [
        {
            "name": name,
            "trainings": seeds,
            "failed": 0,
            "epochs": epochs,
            "fluctuation": figure,
            "loss_fluctuation": None,
            "epochs_to_95": {"median": 11, "lowest": 9, "highest": 14},
            "monotone": {"median": 0.71, "lowest": 0.6, "highest": 0.8},
            "drops": 2,
            "shares": [],
        }
        for name in names
    ]
    verdict["race"] = {"dropped": [{"name": names[-1], "seeds": 3}], "steps": 600, "planned_steps": 1000}
    rates = np.geomspace(1e-6, 10, 60)
    t = np.arange(1, epochs + 1)
    return replace(
        made,
        verdict=verdict,
        terms=[
            TermCurve(name, term, (0.6 / t**0.5).tolist(), [1.0] * epochs, share.tolist())
            for name in names
            for term, share in (
                ("bce(mask)", 0.7 - 0.4 * t / epochs),
                ("dice(mask)", 0.3 + 0.4 * t / epochs),
            )
        ],
        training=[
            Curve(name, seed, "loss", t.tolist(), (place + np.exp(-t / 5) + rng.normal(0, 0.02, epochs)).tolist())
            for place, name in enumerate(names)
            for seed in range(seeds)
        ],
        spreads=[
            Spread(
                loss=name,
                images=412,
                scores=np.sort(np.clip(rng.normal(0.8 - 0.02 * place, 0.1, 201), 0, 1)).tolist(),
                differences=np.sort(rng.normal(-0.02 * place, 0.05, 201)).tolist() if place else (),
                against=names[0] if place else "",
                ahead=0.31 if place else None,
                tied=0.0 if place else None,
            )
            for place, name in enumerate(names)
        ],
        searches=[
            RateSearch(
                loss=name,
                rate=0.003 * (place + 1),
                reason="The loss fell fastest there; of the rates tried it scored best.",
                curve=list(zip(rates.tolist(), (1 - 0.6 / (1 + (0.003 / rates)) + rates).tolist(), strict=True)),
                grid=[(0.001, 0.7), (0.003, 0.74), (0.01, 0.73), (0.03, None)],
                steps=340,
                seconds=21.5,
            )
            for place, name in enumerate(names)
        ],
        costs=[LossCost(name, seeds, 900 * seeds, 250.0, 340, 21.5, 26.4, 300 * 2**20, "counted") for name in names],
    )


@pytest.fixture
def study() -> Callable[..., StudyContents]:
    return make_study


@pytest.fixture
def full() -> Callable[..., StudyContents]:
    return make_full
