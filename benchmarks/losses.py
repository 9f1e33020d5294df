"""Every loss against every package that has it: forward and backward, time and peak memory, in one run.

    python benchmarks/losses.py [--device cuda] [--loss ssim] [--repeats 15] [--markdown docs/losses-speed.md]

For each loss and shape, ours and the packages' take turns, a few calls at a time, for `--repeats` rounds; the ratio is
the median over the rounds of the fastest package's time divided by ours in the same round, so a machine that slows down
slows both. "plain torch" is the formula written down in the obvious way, where no package has the loss. After that: the
share of a network's training step that a whole loss expression takes, and the share of an epoch that metrics take.
"""

from __future__ import annotations

import argparse
import functools
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kornia.losses as kornia
import monai.losses as monai
import pytorch_msssim
import segmentation_models_pytorch.losses as smp
import torch
import torch.nn.functional as F
import torchmetrics.functional.image as torchmetrics
from torch import Tensor
from torchmetrics.functional import mean_squared_error

import basrelief as br
from basrelief.losses import LOSSES
from basrelief.metrics import score_batch

SHAPES = ((32, 1, 64, 64), (32, 1, 128, 128), (8, 1, 224, 224), (32, 5, 64, 64))
Call = Callable[[Tensor, Tensor], Tensor]


def ours(name: str, **options: Any) -> Call:
    """Our loss on logits; where it takes activated values, with the sigmoid."""
    spec = LOSSES[name]
    if spec.takes == "logits" or name == "pixel_dice":  # which is for heads without activation
        return lambda x, t: spec.function(x, t, **options)
    return lambda x, t: spec.function(torch.sigmoid(x), t, **options)


def on_preds(function: Call) -> Call:
    """A package's loss of probabilities, on logits."""
    return lambda x, t: function(torch.sigmoid(x), t)


def on_labels(function: Call) -> Call:
    """A package's loss of class numbers, which it gets without the cost of finding them."""
    known: dict[int, Tensor] = {}

    def call(x: Tensor, t: Tensor) -> Tensor:
        labels = known.setdefault(t.data_ptr(), t.argmax(1))
        return function(x, labels)

    return call


def rivals(name: str, shape: tuple[int, ...]) -> dict[str, Call]:
    """The packages' versions of a loss for this shape; "plain torch" where there is none."""
    classes = shape[1]
    mode = "binary" if classes == 1 else "multilabel"
    found: dict[str, Call] = {}
    if name == "bce":
        found = {"torch": F.binary_cross_entropy_with_logits, "smp": smp.SoftBCEWithLogitsLoss()}
    elif name == "cross_entropy" and classes > 1:
        found = {"torch": F.cross_entropy, "smp": on_labels(smp.SoftCrossEntropyLoss(smooth_factor=0.0))}
    elif name == "focal":
        found = {
            "smp": smp.FocalLoss(mode, gamma=2.0),
            "monai": monai.FocalLoss(gamma=2.0),
            "kornia": lambda x, t: kornia.binary_focal_loss_with_logits(x, t, None, 2.0, "mean"),
        }
    elif name == "dice":
        found = {"smp": smp.DiceLoss(mode), "monai": monai.DiceLoss(sigmoid=True)}
        if classes > 1:
            found["kornia"] = on_labels(kornia.dice_loss)
    elif name == "jaccard":
        found = {"smp": smp.JaccardLoss(mode), "monai": monai.DiceLoss(sigmoid=True, jaccard=True)}
    elif name == "tversky":
        found = {
            "smp": smp.TverskyLoss(mode, alpha=0.3, beta=0.7),
            "monai": monai.TverskyLoss(sigmoid=True, alpha=0.3, beta=0.7),
        }
        if classes > 1:
            found["kornia"] = on_labels(lambda x, t: kornia.tversky_loss(x, t, 0.3, 0.7))
    elif name == "focal_tversky":
        found = {"smp": smp.TverskyLoss(mode, alpha=0.3, beta=0.7, gamma=0.75)}
    elif name == "lovasz" and classes > 1:
        found = {"smp": on_labels(smp.LovaszLoss("multiclass")), "kornia": on_labels(kornia.lovasz_softmax_loss)}
    elif name == "lovasz_hinge":  # a class is to them as an image
        planes = smp.LovaszLoss("binary", per_image=True)
        found = {
            "smp": lambda x, t: planes(x.flatten(0, 1)[:, None], t.flatten(0, 1)[:, None]),
            "kornia": lambda x, t: kornia.lovasz_hinge_loss(x.flatten(0, 1)[:, None], t.flatten(0, 1)),
        }
    elif name == "hausdorff":
        found = {"monai": monai.HausdorffDTLoss(sigmoid=True)}
    elif name == "cl_dice":
        soft = monai.SoftclDiceLoss()
        found = {"monai": lambda x, t: soft(t, torch.sigmoid(x))}
    elif name == "ssim":
        window = monai.SSIMLoss(spatial_dims=2)
        found = {
            "monai": on_preds(window),
            "pytorch_msssim": on_preds(lambda p, t: 1 - pytorch_msssim.ssim(p, t, data_range=1.0)),
            "kornia": on_preds(lambda p, t: kornia.ssim_loss(p, t, 11, padding="valid")),
            "torchmetrics": on_preds(
                lambda p, t: 1 - torchmetrics.structural_similarity_index_measure(p, t, data_range=1.0)
            ),
        }
    elif name == "ms_ssim":
        found = {
            "pytorch_msssim": on_preds(lambda p, t: 1 - pytorch_msssim.ms_ssim(p, t, data_range=1.0)),
            "torchmetrics": on_preds(
                lambda p, t: 1 - torchmetrics.multiscale_structural_similarity_index_measure(p, t, data_range=1.0)
            ),
        }
    elif name == "rmse":
        found = {"torchmetrics": on_preds(lambda p, t: mean_squared_error(p, t, squared=False))}
    elif name in ("mse", "l1", "smooth_l1", "huber"):
        function = getattr(F, f"{name}_loss")
        found = {"torch": on_preds(function)}
    if name == "pixel_dice":
        found = {"write-up D's loop": pixel_dice_loop}
    return found or {key: on_preds(value) for key, value in PLAIN[name].items()}


def pixel_dice_loop(p: Tensor, t: Tensor) -> Tensor:
    """Write-up D's: a loop over images and classes, plane by plane."""
    total = p.new_zeros(())
    for i in range(p.shape[0]):
        for k in range(p.shape[1]):
            total = total + (1 - (2 * p[i, k] * t[i, k] + 1) / (p[i, k] + t[i, k] + 1)).mean()
    return total / (p.shape[0] * p.shape[1])


def _log_cosh_dice(p: Tensor, t: Tensor) -> Tensor:
    dice = 1 - (2 * (p * t).sum((2, 3)) + 1e-5) / (p.sum((2, 3)) + t.sum((2, 3)) + 1e-5)
    return torch.log(torch.cosh(dice)).mean()


def _lovasz(p: Tensor, t: Tensor) -> Tensor:
    losses = []
    for errors, labels in zip((t - p).abs().flatten(0, 1).flatten(1), t.flatten(0, 1).flatten(1), strict=True):
        ordered, places = torch.sort(errors, descending=True)
        truth = labels[places]
        inside = truth.sum() - truth.cumsum(0)
        jaccard = 1 - inside / (truth.sum() + (1 - truth).cumsum(0))
        losses.append(ordered @ torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]]))
    return torch.stack(losses).mean()


def _boundary(p: Tensor, t: Tensor) -> Tensor:
    from scipy.ndimage import distance_transform_edt

    planes = []
    for plane in t.flatten(0, 1).cpu().numpy() > 0.5:
        inside = distance_transform_edt(plane)
        planes.append(torch.from_numpy(distance_transform_edt(~plane) * ~plane - (inside - 1) * plane))
    return (p * torch.stack(planes).to(p).reshape(p.shape)).mean()


def _berhu(p: Tensor, t: Tensor) -> Tensor:
    error = (p - t).abs()
    c = 0.2 * error.max()
    return torch.where(error <= c, error, (error * error + c * c) / (2 * c)).mean()


def _silog(p: Tensor, t: Tensor) -> Tensor:
    g = torch.log(p.clamp_min(1e-6)) - torch.log(t.clamp_min(1e-6))
    return torch.sqrt((g * g).mean() - 0.5 * g.mean() ** 2)


def _gradient(p: Tensor, t: Tensor) -> Tensor:
    total = p.new_zeros(())
    for scale in range(4):
        r = (p - t)[..., :: 2**scale, :: 2**scale]
        total = total + (r[..., 1:, :] - r[..., :-1, :]).abs().mean() + (r[..., 1:] - r[..., :-1]).abs().mean()
    return total


def _ssi(p: Tensor, t: Tensor) -> Tensor:
    x, y = p.flatten(1), t.flatten(1)
    a, b, c, d = (x * x).mean(1), x.mean(1), (x * y).mean(1), y.mean(1)
    scale = (c - b * d) / (a - b * b)
    return ((scale[:, None] * x + (d - scale * b)[:, None] - y) ** 2).mean()


PLAIN: dict[str, dict[str, Call]] = {
    "log_cosh_dice": {"plain torch": _log_cosh_dice},
    "lovasz": {"plain torch": _lovasz},
    "boundary": {"scipy": _boundary},
    "berhu": {"plain torch": _berhu},
    "silog": {"plain torch": _silog},
    "gradient": {"plain torch": _gradient},
    "ssi": {"plain torch": _ssi},
}


def inputs(name: str, shape: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Logits and a target as they occur: a disc in each mask (one class a pixel), or smooth depth."""
    generator = torch.Generator().manual_seed(0)
    count, classes, height, width = shape
    logits = 2 * torch.randn(shape, generator=generator)
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    centre = torch.rand(count, 1, 2, generator=generator)[..., None, None]
    far = ((y - centre[:, :, 0]) ** 2 + (x - centre[:, :, 1]) ** 2).sqrt()
    if name == "pixel_dice":
        target = 50 * (1 + torch.arange(classes))[:, None, None] * (far < 0.15)
    elif "mask" not in LOSSES[name].targets or name in ("ssim", "ms_ssim"):
        target = (0.1 + 0.6 * far).expand(shape).clone()
    else:
        labels = (far * 3).long().clamp_max(classes - 1) if classes > 1 else torch.zeros_like(far).long()
        target = (
            F.one_hot(labels[:, 0], classes).movedim(-1, 1).float().contiguous()
            if classes > 1
            else (far < 0.25).float()
        )
    return logits.to(device).requires_grad_(), target.to(device)


def step(call: Call, x: Tensor, t: Tensor) -> None:
    """Forward and backward."""
    x.grad = None
    call(x, t).backward()


def wait(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def rounds(
    calls: dict[str, Call], x: Tensor, t: Tensor, repeats: int, device: torch.device
) -> Iterator[dict[str, float]]:
    """Time every call in turn, some 5 ms of it at a time; yields seconds a call for each round."""
    counts = {}
    for name, call in calls.items():
        step(call, x, t)  # warms up
        started = time.perf_counter()
        step(call, x, t)
        wait(device)
        counts[name] = max(1, min(50, round(0.005 / (time.perf_counter() - started))))
    order = list(calls)
    shuffle = random.Random(0).shuffle
    for _ in range(repeats):
        seconds = {}
        shuffle(order)  # what a call leaves in the cache and the allocator favours some followers
        for name in order:
            wait(device)
            started = time.perf_counter()
            for _ in range(counts[name]):
                step(calls[name], x, t)
            wait(device)
            seconds[name] = (time.perf_counter() - started) / counts[name]
        yield seconds


def peak_memory(call: Call, x: Tensor, t: Tensor) -> float:
    """Return the most memory a forward and backward holds beyond its inputs, in MiB."""
    x.grad = None
    if x.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call(x, t).backward()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        call(x, t).backward()
    held = most = 0
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most / 2**20


def compare(name: str, shape: tuple[int, ...], repeats: int, device: torch.device) -> dict[str, Any] | None:
    """Return the figures of one loss at one shape; None where no package, or not ours, takes the shape."""
    if (name == "cross_entropy" and shape[1] == 1) or (name == "ms_ssim" and shape[-1] < 161):
        return None
    x, t = inputs(name, shape, device)
    calls = {"ours": ours(name), **rivals(name, shape)}
    times = list(rounds(calls, x, t, repeats, device))
    medians = {key: statistics.median(seconds[key] for seconds in times) for key in calls}
    fastest = min((key for key in calls if key != "ours"), key=medians.__getitem__)
    ratios = sorted(min(s[key] for key in s if key != "ours") / s["ours"] for s in times)
    return {
        "milliseconds": {key: 1000 * value for key, value in medians.items()},
        "fastest": fastest,
        "ratio": statistics.median(ratios),
        "low": ratios[len(ratios) // 4],
        "high": ratios[-1 - len(ratios) // 4],
        "memory": {key: peak_memory(calls[key], x, t) for key in ("ours", fastest)},
    }


def share_of_step(device: torch.device, repeats: int) -> tuple[float, float, float]:
    """Return seconds of resunet's whole step and of its loss at 64 px in batches of 16, and the loss's share."""
    model = br.create_model("resunet", depth=True, background=True).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    loss = br.parse_loss("2*ssim(depth) + bce(mask) + dice(mask)")
    image, background = torch.rand(2, 16, 3, 64, 64, device=device)
    mask, depth = (torch.rand(16, 1, 64, 64, device=device) > 0.7).float(), torch.rand(16, 1, 64, 64, device=device)
    batch = {"mask": mask, "depth": depth}
    leaves = {name: torch.randn(16, 1, 64, 64, device=device).requires_grad_() for name in batch}
    whole, alone = [], []
    autocast = functools.partial(torch.autocast, device.type, torch.bfloat16)
    for _ in range(repeats):
        wait(device)
        started = time.perf_counter()
        with autocast():
            outputs = model(image, background)
        loss(outputs, batch).total.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        wait(device)
        between = time.perf_counter()
        loss(leaves, batch).total.backward()
        wait(device)
        whole.append(between - started)
        alone.append(time.perf_counter() - between)
    step_seconds, loss_seconds = statistics.median(whole), statistics.median(alone)
    return step_seconds, loss_seconds, loss_seconds / step_seconds


def seconds_of_metrics(device: torch.device, repeats: int) -> float:
    """Return the seconds that all metrics of mask and depth take for 64 images of 64 px."""
    planes = {"mask": torch.rand(64, 1, 64, 64, device=device), "depth": torch.rand(64, 1, 64, 64, device=device)}
    truth = {"mask": (planes["mask"] > 0.7).float(), "depth": torch.rand(64, 1, 64, 64, device=device)}
    taken = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            started = time.perf_counter()
            score_batch(planes, truth)
            wait(device)
            taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--loss", action="append", choices=sorted(LOSSES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    args = parser.parse_args()
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the memory profiler would print a line at every start
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    titles = ["x".join(map(str, shape)) for shape in SHAPES]
    lines = [
        f"| loss | {' | '.join(titles)} | ours, ms | memory |",
        f"|---|{'---|' * len(titles)}---|---|",
    ]
    print(lines[0])
    for name in args.loss or LOSSES:
        cells, last = [], None
        for shape in SHAPES:
            found = compare(name, shape, args.repeats, device)
            last = found or last
            cells.append(
                f"**{found['ratio']:.2f}** ({found['low']:.2f}–{found['high']:.2f}) {found['fastest']}" if found else ""
            )
        assert last is not None
        memory = f"{last['memory']['ours']:.1f} to {last['memory'][last['fastest']]:.1f} MiB"
        lines.append(f"| {name} | {' | '.join(cells)} | {last['milliseconds']['ours']:.2f} | {memory} |")
        print(lines[-1], flush=True)
    own = compare("pixel_dice", (4, 5, 64, 64), args.repeats, device)
    assert own is not None
    whole, alone, share = share_of_step(device, args.repeats)
    metrics = seconds_of_metrics(device, args.repeats)
    epoch = whole * 280 / 16  # 280 training images beside 60 validation images: the default shares of 400
    notes = [
        f"pixel_dice on write-up D's own batches, 4x5x64x64: {own['ratio']:.1f} times its loop "
        f"({own['low']:.1f}–{own['high']:.1f}).",
        f"2*ssim(depth) + bce(mask) + dice(mask): {1000 * alone:.1f} ms of resunet's step of {1000 * whole:.0f} ms at "
        f"64 px, batches of 16: {share:.1%}.",
        f"All metrics of mask and depth for 64 images at 64 px: {1000 * metrics:.0f} ms; for the 60 validation images "
        f"beside 280 training images {metrics * 60 / 64 / (epoch + metrics):.2%} of resunet's epoch.",
    ]
    print("\n".join(notes))
    if args.markdown:
        args.markdown.write_text("\n".join([*lines, "", *(f"- {note}" for note in notes), ""]))


if __name__ == "__main__":
    main()
