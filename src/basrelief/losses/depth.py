"""Losses of depth alone: pure functions of tensors (N, C, H, W).

Depth is divided by a stored maximum, so that values lie in [0, 1] and 0 stays 0. Unknown pixels may hold NaN in the
target. Each loss is made for an image from its known pixels and then averaged over the images that have any, unless
``over="batch"``. Where nothing is known the loss is 0, with gradient 0.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from basrelief.errors import UsageError, unknown_name
from basrelief.functional.align import fit_scale_shift, lower_median_per_image
from basrelief.functional.reduce import Over, check_over, known, mean_of_pixels, mean_over_images, mean_per_image
from basrelief.losses.value import known_errors, l1, mse


def berhu(
    pred: Tensor, target: Tensor, *, valid: Tensor | None = None, over: Over = "image", threshold: float = 0.2
) -> Tensor:
    """Return the reverse Huber loss: with e = |p − t|, e where e ≤ c and (e² + c²) / (2c) elsewhere.

    c is ``threshold`` times the largest known error. Laina, Rupprecht, Belagiannis, Tombari and Navab, "Deeper depth
    prediction with fully convolutional residual networks", 3DV 2016, where c is taken over the batch
    (``over="batch"``). The gradient passes through c as well. A perfect prediction has loss and gradient 0.

    Parameters
    ----------
    pred, target
        (N, C, H, W), any real values.
    valid
        Bool (N, 1, H, W) or (N, C, H, W); None: known everywhere.
    over
        "image": each image has its own c and its own mean; "batch": one c and one mean for all known pixels.
    threshold
        More than 0, at most 1; at 1 the loss is ``l1``.

    Raises
    ------
    UsageError
        When ``threshold`` lies outside (0, 1] or ``over`` is another word.
    """
    check_over(over)
    if not 0 < threshold <= 1:
        raise UsageError(f"berhu: threshold is {threshold:g}; it must be above 0 and at most 1.")
    errors = known_errors(pred, target, valid).abs()
    c = threshold * (errors.amax((1, 2, 3), keepdim=True) if over == "image" else errors.amax())
    excess = (errors - c).clamp_min(0)
    # The same as published, e + (e - c)² / (2c), without a branch; no error exceeds a c of 0, so any divisor serves.
    return mean_of_pixels(errors + excess * (excess / (2 * torch.where(c > 0, c, 1))), valid, over)


def silog(
    pred: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    over: Over = "image",
    lam: float = 0.5,
    floor: float = 1e-6,
    unbiased: bool = False,
    zero_unknown: bool = False,
) -> Tensor:
    """Return the scale-invariant log error √(mean g² − λ·(mean g)²), with g = log p − log t.

    Eigen, Puhrsch and Fergus, "Depth map prediction from a single image using a multi-scale deep network", NeurIPS
    2014, eq. 4, under a root as is usual. λ = 0.5 is theirs; λ = 1 leaves the scale out altogether, λ = 0 is the root
    mean squared log error. It is computed as var(g) + (1 − λ)·(mean g)², which rounding cannot turn negative. Where
    the root is 0 the gradient is 0.

    Parameters
    ----------
    pred, target
        (N, C, H, W), positive up to ``floor``.
    valid
        Bool (N, 1, H, W) or (N, C, H, W); None: known everywhere.
    over
        "image": the mean of the images' roots; "batch": one root from all known pixels.
    lam
        λ above, in [0, 1].
    floor
        Smaller values of p and t are raised to it, so that the logarithm stays finite; the gradient below it is 0.
    unbiased
        Divide the variance by n − 1 instead of n (1 where n is 1).
    zero_unknown
        Take a target at or below ``floor`` as unknown, as most packages do, besides what ``valid`` leaves out.

    Raises
    ------
    UsageError
        When ``lam`` lies outside [0, 1], ``floor`` is not above 0, or ``over`` is another word.
    """
    check_over(over)
    if not 0 <= lam <= 1:
        raise UsageError(f"silog: lam is {lam:g}; it must be at least 0 and at most 1.")
    if not 0 < floor < math.inf:
        raise UsageError(f"silog: floor is {floor:g}; it must be above 0.")
    if zero_unknown:
        positive = target > floor
        valid = positive if valid is None else positive & valid
    places = None if valid is None else valid.expand_as(target)
    roots: Tensor = _ScaleInvariantRoot.apply(pred, target, places, over == "batch", floor, 1 - lam, int(unbiased))
    if places is None:
        return roots.mean()
    counted = places.any().view(1) if over == "batch" else places.flatten(1).any(1)
    return mean_over_images(roots, counted)


def gradient(
    pred: Tensor, target: Tensor, *, valid: Tensor | None = None, over: Over = "image", scales: int = 4
) -> Tensor:
    """Return the multi-scale gradient matching loss: Σ over scales of the mean |difference of R| between neighbours.

    R = p − t, taken at every 2^k-th pixel of scale k = 0, 1, …; its neighbours are the next ones across and down, and
    both must be known. The mean is over an image's known pairs, across and down together, so that it does not depend
    on the image's size or on how much is known. Li and Snavely, "MegaDepth", CVPR 2018, on log depth; on R as
    here Ranftl et al., "Towards robust monocular depth estimation", TPAMI 2022; both divide by the number of
    pixels, which comes to about twice this. A scale without a known pair, as in a small image, counts 0.

    Parameters
    ----------
    pred, target
        (N, C, H, W), any real values. A constant added to ``pred`` does not matter.
    valid
        Bool (N, 1, H, W) or (N, C, H, W); None: known everywhere.
    over
        "image": each image's means, then the mean of the images that have a known pair; "batch": at each scale the
        mean over the pairs of the whole batch.
    scales
        How many, at least 1.

    Raises
    ------
    UsageError
        When ``scales`` is not a whole number of at least 1, or ``over`` another word.
    """
    check_over(over)
    if not isinstance(scales, int) or scales < 1:
        raise UsageError(f"gradient: scales is {scales!r}; it must be a whole number of at least 1.")
    places = None if valid is None else valid.expand_as(target)
    return mean_over_images(*_Neighbours.apply(known_errors(pred, target, valid), places, scales, over == "batch"))


def ssi(
    pred: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    over: Over = "image",
    by: Literal["least_squares", "median"] = "least_squares",
) -> Tensor:
    """Return the scale-and-shift-invariant loss: how far ``pred`` is from ``target`` when both are made alike first.

    Ranftl, Lasinger, Hafner, Schindler and Koltun, "Towards robust monocular depth estimation", TPAMI 2022, with
    their factor 1/2 for either kind:

    - "least_squares": (1/2)·mean (scale·p + shift − t)², with the image's best scale and shift. The scale may be
      negative, so a depth that is exactly inverted costs nothing.
    - "median": (1/2)·mean |p' − t'|, where x' = (x − median(x)) / mean |x − median(x)| for each of the two: the kind of
      MiDaS 3 and Depth Anything (which leaves the 1/2 out). The sign of a depth matters here. Of an even number of
      pixels the median is the lower of the middle two, as there.

    A constant prediction has no scale: it costs as much as it does with scale 0 (x' = 0), with gradient 0, and a
    constant target is compared in the same way.

    Parameters
    ----------
    pred, target
        (N, C, H, W), any real values.
    valid
        Bool (N, 1, H, W) or (N, C, H, W); None: known everywhere.
    over
        Each image is aligned by itself in either case. "image": each image's mean, then the mean of the images that
        have a known pixel; "batch": the mean over all known pixels.
    by
        How to align, see above.

    Raises
    ------
    UsageError
        When ``by`` or ``over`` is another word.
    """
    check_over(over)
    if by == "median":
        return l1(_by_median(pred, valid), _by_median(target, valid), valid=valid, over=over) / 2
    if by != "least_squares":
        raise unknown_name("value of by", by, ("least_squares", "median"))
    # At the least squares optimum the derivative by scale and shift is 0, so taking them as constants is exact.
    with torch.no_grad():
        scale, shift = fit_scale_shift(pred, target, valid)
    aligned = torch.addcmul(shift.view(-1, 1, 1, 1), pred, scale.view(-1, 1, 1, 1))
    return mse(aligned, target, valid=valid, over=over) / 2


def _by_median(values: Tensor, valid: Tensor | None) -> Tensor:
    """Return (x − median) / mean |x − median| for each image; 0 where unknown, and everywhere in a constant image."""
    offsets = known(values - lower_median_per_image(values, valid).view(-1, 1, 1, 1), valid)[0]
    spread = mean_per_image(offsets.abs(), valid)[0]
    varies = spread > torch.finfo(values.dtype).tiny ** 0.5  # the gradient has 1 / spread, which must not overflow
    return offsets * torch.where(varies, 1 / torch.where(varies, spread, 1), 0).view(-1, 1, 1, 1)


class _ScaleInvariantRoot(torch.autograd.Function):
    """√(variance + share·mean²) of log p − log t, of each image or of all pooled; gradient 0 at a root of 0.

    One product with 1/p makes the gradient, and planes are reused in place: autograd's own takes more passes. The
    target gets no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        pred: Tensor,
        target: Tensor,
        places: Tensor | None,
        pooled: bool,
        floor: float,
        share: float,
        fewer: int,
    ) -> Tensor:
        rows = (1, -1) if pooled else (len(pred), -1)
        offsets = pred.clamp_min(floor).log_().sub_(target.clamp_min(floor).log_()).reshape(rows)
        if places is None:
            counts = torch.full_like(offsets[:, 0], offsets.shape[1])
        else:
            unknown = ~places.reshape(rows)
            counts = (offsets.shape[1] - unknown.sum(1)).clamp_min(1).to(offsets.dtype)
            offsets.masked_fill_(unknown, 0)
        mean = offsets.sum(1) / counts
        offsets.sub_(mean[:, None])
        if places is not None:
            offsets.masked_fill_(unknown, 0)
        divisor = (counts - fewer).clamp_min(1)
        roots: Tensor = (torch.linalg.vecdot(offsets, offsets) / divisor + share * mean.square()).sqrt_()
        ctx.save_for_backward(pred, offsets, places, roots, share * mean / counts, divisor)
        ctx.floor = floor
        return roots

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        pred, offsets, places, roots, shift, divisor = ctx.saved_tensors
        slopes = (gradients[0] / roots).masked_fill_(roots == 0, 0)
        result = torch.addcmul((slopes * shift)[:, None], offsets, (slopes / divisor)[:, None]).view(pred.shape)
        outside = pred < ctx.floor if places is None else (pred < ctx.floor) | ~places
        return result.div_(pred).masked_fill_(outside, 0), None, None, None, None, None, None


class _Neighbours(torch.autograd.Function):
    """Σ over scales of the mean |difference| of known neighbours, of each image or of all pooled.

    With it, bool, which of them have a known pair at any scale. The gradient is a sum of signs, added up in one plane:
    autograd's own takes a plane of zeros for every slice.
    """

    @staticmethod
    def forward(ctx: Any, errors: Tensor, places: Tensor | None, scales: int, pooled: bool) -> tuple[Tensor, Tensor]:
        slopes = torch.zeros_like(errors)
        totals = errors.new_zeros(1 if pooled else len(errors))
        counted = torch.zeros_like(totals, dtype=torch.bool)
        for step in (2**k for k in range(scales)):
            if step >= max(errors.shape[-2:]):
                break  # neither this scale nor a coarser one has neighbours
            grid, slope_grid = errors[..., ::step, ::step], slopes[..., ::step, ::step]
            steps, sums, pairs = {}, torch.zeros_like(totals), torch.zeros_like(totals)
            for dim in (-2, -1):
                steps[dim] = grid.diff(dim=dim)
                number = errors.new_full((len(errors),), steps[dim][0].numel())
                if places is not None:
                    known_grid, size = places[..., ::step, ::step], grid.shape[dim]
                    both = known_grid.narrow(dim, 1, size - 1) & known_grid.narrow(dim, 0, size - 1)
                    steps[dim].masked_fill_(~both, 0)
                    number = both.flatten(1).sum(1)
                sums = sums + _pool(steps[dim].abs().flatten(1).sum(1), pooled)
                pairs = pairs + _pool(number, pooled)
            totals += sums / pairs.clamp_min(1)
            counted |= pairs > 0
            for dim, differences in steps.items() if ctx.needs_input_grad[0] else ():
                signs = differences.sign_().div_(pairs.clamp_min(1).view(-1, 1, 1, 1))
                slope_grid.narrow(dim, 1, signs.shape[dim]).add_(signs)
                slope_grid.narrow(dim, 0, signs.shape[dim]).sub_(signs)
        ctx.save_for_backward(slopes)
        ctx.mark_non_differentiable(counted)
        return totals, counted

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return slopes * gradients[0].view(-1, 1, 1, 1), None, None, None


def _pool(values: Tensor, pooled: bool) -> Tensor:
    return values.sum(0, keepdim=True) if pooled else values
