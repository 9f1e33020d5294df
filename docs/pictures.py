"""What each loss and each metric does, as pictures: values and gradients of the functions themselves on small scenes.

A mask's scene is a disc of radius 16 in 64x64 px, or a ring for what looks at thin things; depth's is a generated room
with a figure, over its maximum. All is computed when the pictures are made, and drawn as it came out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from curves import Lines, Map, draw
from torch import Tensor

from basrelief.data.scenes import make_scene
from basrelief.losses import LOSSES
from basrelief.metrics import METRICS, score_batch

FOLDER = Path(__file__).parent / "pictures"
SIDE, RADIUS = 64, 16
SOFT = 0.8  # px over which a predicted disc's edge goes from mask to ground
VALUES = ("mse", "l1", "rmse", "smooth_l1")  # for both targets, and at home with depth
TWO = ("cross_entropy",)  # of classes, figure and ground
THIN = ("cl_dice",)  # their skeletons reach 3 px deep
THICKNESS = 5
OPTIONS = {"ms_ssim": {"scales": 3}}  # as many as 64 px admit
Score = Callable[[Tensor, Tensor], float]


def write_pictures(folder: Path = FOLDER) -> None:
    """Write a picture of every loss, and of every metric that has a value for each image."""
    folder.mkdir(exist_ok=True)
    for name in LOSSES:
        panels = depth_loss(name) if is_of_depth(name) else mask_loss(name)
        (folder / f"loss-{name}.svg").write_text(draw(panels, f"The loss {name} on a small scene"))
    for name, spec in METRICS.items():
        if not spec.pooled:
            panels = mask_metric(name) if name.startswith("mask/") else depth_metric(name)
            (folder / f"{name.replace('/', '-')}.svg").write_text(draw(panels, f"The metric {name} on a small scene"))


def is_of_depth(name: str) -> bool:
    """Tell whether a loss is shown on depth."""
    return "mask" not in LOSSES[name].targets or name in VALUES


def mask_loss(name: str) -> list[Lines | Map]:
    """Return value against certainty, place and size of a predicted disc, and the gradient of a misplaced one."""
    thin = name in THIN
    thing = "ring" if thin else "disc"
    truth = disc(thin=thin)
    shifts, sizes, ps = np.arange(0, 25), np.arange(-12, 13), np.linspace(0.01, 0.99, 99)
    if LOSSES[name].pixelwise:
        one = torch.ones(1, 1, 1, 1)
        title, axis = "One pixel, mask or ground", "probability of the mask, p"
        certainty = {
            f"t = {t}": [loss(name, torch.full_like(one, p), torch.full_like(one, t)) for p in ps] for t in (1, 0)
        }
    else:
        title, axis = "As sure everywhere", f"p on the {thing}, 1 − p around it"
        certainty = {"": [loss(name, p * truth + (1 - p) * (1 - truth), truth) for p in ps]}
    misplaced = [loss(name, soft_disc(shift=s, thin=thin), truth) for s in shifts]
    resized = [loss(name, soft_disc(grow=g, thin=thin), truth) for g in sizes]
    gradient = pull(name, soft_disc(shift=6, thin=thin), truth)
    return [
        Lines(title, axis, ps, certainty),
        Lines(f"{thing.capitalize()} in the wrong place", "shift in px", shifts, {"": misplaced}),
        Lines(f"{thing.capitalize()} of the wrong size", "radius, px too large", sizes, {"": resized}),
        Map("Gradient at the logits", f"{thing} predicted 6 px to the right", gradient, truth[0, 0].numpy()),
    ]


def depth_loss(name: str) -> list[Lines | Map]:
    """Return value against one error, scale and shift of depth, and the gradient of a blurred one."""
    truth, mask = room()
    errors, scales, shifts = np.linspace(-0.5, 0.5, 101), np.linspace(0.5, 2, 61), np.linspace(-0.15, 0.3, 46)
    if LOSSES[name].pixelwise and name != "berhu":
        half = torch.full((1, 1, 1, 1), 0.5)
        first = Lines("One pixel", "error p − t", errors, {"": [value(name, half + e, half) for e in errors]})
    else:
        strengths = np.linspace(0, 0.2, 41)
        noisy = [value(name, truth + s * noise(), truth) for s in strengths]
        first = Lines("Noise", "standard deviation of the noise", strengths, {"": noisy})
    return [
        first,
        Lines("Wrong scale", "depth times", scales, {"": [value(name, s * truth, truth) for s in scales]}),
        Lines("Wrong by a constant", "depth plus", shifts, {"": [value(name, truth + s, truth) for s in shifts]}),
        Map("Gradient at the depth", "room and figure blurred by 2 px", slope(name, blurred(truth, 2), truth), mask),
    ]


def mask_metric(name: str) -> list[Lines | Map]:
    """Return the score against place, size, certainty and patterns of a predicted disc."""
    truth = disc()
    shifts, sizes = np.arange(0, 25), np.arange(-12, 13)
    ps, strengths = np.linspace(0, 1, 101), np.linspace(0, 1, 41)

    def score(pred: Tensor) -> float:
        return float(score_batch({"mask": pred}, {"mask": truth}, metrics=[name])[name])

    unsure = 0.3 + 0.4 * truth
    patterns = {
        "noise": [score((unsure + s * noise()).clamp(0, 1)) for s in strengths],
        "2-px grid": [score((unsure + s * grid()).clamp(0, 1)) for s in strengths],
    }
    sure = [score(p * truth + (1 - p) * (1 - truth)) for p in ps]
    return [
        Lines("Disc in the wrong place", "shift in px", shifts, {"": [score(soft_disc(shift=s)) for s in shifts]}),
        Lines("Disc of the wrong size", "px too large", sizes, {"": [score(soft_disc(grow=g)) for g in sizes]}),
        Lines("As sure everywhere", "p on the disc, 1 − p around it", ps, {"": sure}),
        Lines("Patterns on p of 0.7 and 0.3", "strength", strengths, patterns),
    ]


def depth_metric(name: str) -> list[Lines | Map]:
    """Return the score against scale, shift, patterns and blur of depth; aligned as well, where it can be."""
    truth, _ = room()
    aligned = ("", "@median", "@scale_shift") if METRICS[name].sums is not None else ("",)
    scales, shifts = np.linspace(0.5, 2, 61), np.linspace(-0.15, 0.3, 46)
    strengths, widths = np.linspace(0, 0.2, 41), np.linspace(0.01, 6, 31)

    def scores(preds: Iterable[Tensor], kinds: tuple[str, ...] = ("",)) -> dict[str, list[float]]:
        made = list(preds)
        found = {}
        for kind in kinds:
            asked = f"{name}{kind}"
            label = kind or ("as it is" if len(kinds) > 1 else "")
            found[label] = [float(score_batch({"depth": p}, {"depth": truth}, metrics=[asked])[asked]) for p in made]
        return found

    noisy = {
        "noise": scores(truth + s * noise() for s in strengths)[""],
        "2-px grid": scores(truth + s * grid() for s in strengths)[""],
    }
    return [
        Lines("Wrong scale", "depth times", scales, scores((s * truth for s in scales), aligned)),
        Lines("Wrong by a constant", "depth plus", shifts, scores((truth + s for s in shifts), aligned)),
        Lines("Patterns", "strength", strengths, noisy),
        Lines("Blurred", "by px", widths, scores(blurred(truth, w) for w in widths)),
    ]


def loss(name: str, pred: Tensor, target: Tensor) -> float:
    """Return a mask loss of probabilities."""
    return float(_call(name, torch.logit(pred.double(), eps=1e-9), target.double()))


def pull(name: str, pred: Tensor, target: Tensor) -> np.ndarray:
    """Return (H, W), the gradient of a mask loss at the logits."""
    logits = torch.logit(pred.double(), eps=1e-4).requires_grad_()
    _call(name, logits, target.double()).backward()
    assert logits.grad is not None
    return logits.grad[0, 0].numpy()


def value(name: str, pred: Tensor, target: Tensor) -> float:
    """Return a depth loss of depth."""
    return float(LOSSES[name].function(pred.double(), target.double()))


def slope(name: str, pred: Tensor, target: Tensor) -> np.ndarray:
    """Return (H, W), the gradient of a depth loss at the depth."""
    pred = pred.double().requires_grad_()
    LOSSES[name].function(pred, target.double()).backward()
    assert pred.grad is not None
    return pred.grad[0, 0].numpy()


def disc(*, thin: bool = False) -> Tensor:
    """Return (1, 1, 64, 64), 1 within a disc, or within a ring."""
    return (_outside(0, 0, thin=thin) <= 0).double()


def soft_disc(shift: float = 0, grow: float = 0, *, thin: bool = False) -> Tensor:
    """Return (1, 1, 64, 64), a network's kind of disc: nearly 0 or 1, with an edge that is not sharp."""
    return torch.sigmoid(-_outside(shift, grow, thin=thin) / SOFT).clamp(0.01, 0.99)


def blurred(planes: Tensor, width: float) -> Tensor:
    """Return planes smoothed by a Gaussian of this many px."""
    reach = max(1, round(3 * width))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / width) ** 2)
    kernel = kernel / kernel.sum()
    padded = torch.nn.functional.pad(planes, (reach,) * 4, mode="replicate")
    rows = torch.nn.functional.conv2d(padded, kernel.view(1, 1, -1, 1).to(planes))
    return torch.nn.functional.conv2d(rows, kernel.view(1, 1, 1, -1).to(planes))


@cache
def room() -> tuple[Tensor, np.ndarray]:
    """Return depth (1, 1, 64, 64) over its maximum, and the figure's mask (64, 64)."""
    scene = make_scene(3, 1, SIDE, SIDE)
    return torch.from_numpy(scene.depth / scene.depth.max())[None, None].double(), scene.mask


@cache
def noise() -> Tensor:
    """Return (1, 1, 64, 64), numbers of mean 0 and deviation 1, always the same."""
    return torch.from_numpy(np.random.default_rng(0).normal(size=(1, 1, SIDE, SIDE)))


@cache
def grid() -> Tensor:
    """Return (1, 1, 64, 64), 1 and −1 as a chessboard."""
    return (torch.arange(SIDE)[:, None] + torch.arange(SIDE)).remainder(2).mul(2).sub(1).double()[None, None]


def _call(name: str, logits: Tensor, target: Tensor) -> Tensor:
    spec = LOSSES[name]
    if name in TWO:
        logits, target = torch.cat([logits, 0 * logits], 1), torch.cat([target, 1 - target], 1)
    taken = logits if spec.takes == "logits" else torch.sigmoid(logits)
    return spec.function(taken, target, **OPTIONS.get(name, {}))


def _outside(shift: float, grow: float, *, thin: bool) -> Tensor:
    """Return how many px a pixel lies outside the disc, or outside the ring at its rim."""
    at = torch.arange(SIDE, dtype=torch.float64) - (SIDE - 1) / 2
    beyond = torch.hypot(at[:, None], at[None] - shift) - RADIUS - grow
    return (beyond.abs() - THICKNESS / 2 if thin else beyond)[None, None]


if __name__ == "__main__":
    write_pictures()
