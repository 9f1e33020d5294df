"""The metrics, as one table, and what is asked of it by name.

A name is TARGET/METRIC, with ``_pooled`` for one value of all images together, ``/CLASS`` for one class of a mask, or
``@median`` and ``@scale_shift`` where each predicted depth is aligned to the truth first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from basrelief.errors import UsageError, unknown_name
from basrelief.metrics import depth, mask, structure
from basrelief.metrics.depth import Errors, Ratios
from basrelief.metrics.mask import Calibration, HardOverlap, SoftOverlap
from basrelief.metrics.names import pooled_name, unpooled_name
from basrelief.metrics.spec import MetricSpec

DEFINITIONS_VERSION = 2  # written into every result; raised when a definition here changes
ALIGNMENTS = {
    "median": "after the predicted depth was scaled to the true median",
    "scale_shift": "after the scale and the shift of the predicted depth that fit the truth best, by least squares",
}

_SSIM = "Wang, Bovik, Sheikh, Simoncelli, Image quality assessment, IEEE TIP 2004"
_MS_SSIM = "Wang, Simoncelli, Bovik, Multi-scale structural similarity, Asilomar 2003"
_EIGEN = "Eigen, Puhrsch, Fergus, Depth map prediction from a single image, NeurIPS 2014"
_GRID = "after Odena, Dumoulin, Olah, Deconvolution and checkerboard artifacts, Distill 2016"
_FLOOR = "Depth below 1e-6 of the depth maximum counts as that; pixels whose truth is there are left out."
_CHECKERBOARD = "Share of the error's local energy that repeats every 2 px, in tiles of 16x16 px; of noise it is 0."
_MULTISCALE = (
    "Structural similarity over as many of five scales as the resolution admits (five from 161 px on, three at 64, two "
    "from 21), their weights scaled to add up to 1."
)
_SSIM_FORMULA = "mean((2*mp*mt + c1)*(2*cov + c2) / ((mp^2 + mt^2 + c1)*(vp + vt + c2)))"
_MS_SSIM_FORMULA = "SSIM_M^w_M * prod(mean(cs_j)^w_j for j < M)"
_CHECKERBOARD_FORMULA = (
    "1 - (1 - P/E)*(n - 1)/(n - 4), at least 0, E the squares of a tile's error, P those of its 2x2 pattern, n = 16*16"
)

_DEFINITIONS: dict[str, MetricSpec] = {
    "mask/iou": MetricSpec(
        True,
        False,
        "Intersection over union of the hard mask; both empty: 1.",
        "Jaccard 1912",
        mask.iou,
        HardOverlap,
        by_class=True,
        main=True,
        formula="sum(p*t) / (sum(p) + sum(t) - sum(p*t))",
    ),
    "mask/dice": MetricSpec(
        True,
        False,
        "Dice (F1) of the hard mask; both empty: 1.",
        "Dice, Ecology 1945",
        mask.dice,
        HardOverlap,
        by_class=True,
        main=True,
        formula="2*sum(p*t) / (sum(p) + sum(t))",
    ),
    "mask/precision": MetricSpec(
        True,
        False,
        "Share of the predicted mask that is true; nothing predicted: 1 if nothing is true, else 0.",
        "",
        mask.precision,
        HardOverlap,
        formula="sum(p*t) / sum(p)",
    ),
    "mask/recall": MetricSpec(
        True,
        False,
        "Share of the true mask that is predicted; nothing true: 1 if nothing is predicted, else 0.",
        "",
        mask.recall,
        HardOverlap,
        formula="sum(p*t) / sum(t)",
    ),
    "mask/accuracy": MetricSpec(
        True,
        False,
        "Share of pixels that are right, mask or not.",
        "",
        mask.accuracy,
        HardOverlap,
        formula="mean(p*t + (1 - p)*(1 - t))",
    ),
    "mask/boundary_f": MetricSpec(
        True,
        False,
        "F-score of the hard mask's boundary: precision and recall of its pixels within 0.75 % of the diagonal of the "
        "other boundary; both empty: 1, one empty: 0.",
        "Csurka, Larlus, Perronnin, What is a good evaluation measure for semantic segmentation?, BMVC 2013",
        mask.boundary_f,
        formula="2*P*R / (P + R), P and R the shares of the boundaries of p and of t that are near the other's",
    ),
    "mask/soft_dice": MetricSpec(
        True,
        False,
        "Dice of the probabilities themselves; no mask: 0 unless all probabilities are 0, then 1.",
        "Milletari, Navab, Ahmadi, V-Net, 3DV 2016",
        mask.dice,
        SoftOverlap,
        formula="2*sum(p*t) / (sum(p) + sum(t)), p the probability",
    ),
    "mask/soft_iou": MetricSpec(
        True,
        False,
        "Intersection over union of the probabilities themselves; no mask: 0 unless all probabilities are 0, then 1.",
        "Rahman, Wang, Optimizing intersection-over-union in deep neural networks, ISVC 2016",
        mask.iou,
        SoftOverlap,
        formula="sum(p*t) / (sum(p) + sum(t) - sum(p*t)), p the probability",
    ),
    "mask/ece": MetricSpec(
        False,
        False,
        "Expected calibration error: mean gap between the predicted probability of the mask and the share of pixels "
        "that are mask, in 15 equal bins of that probability.",
        "Naeini, Cooper, Hauskrecht, AAAI 2015; Guo, Pleiss, Sun, Weinberger, ICML 2017",
        mask.calibration_error,
        Calibration,
        formula="sum over bins of |sum(p - t)| / sum(1), p the probability",
    ),
    "mask/ssim": MetricSpec(
        True,
        False,
        "Structural similarity of the mask's probabilities and the truth (Gaussian window 11, no padding).",
        _SSIM,
        structure.ssim,
        main=True,
        smallest=11,
        formula=_SSIM_FORMULA,
    ),
    "mask/ms_ssim": MetricSpec(
        True,
        False,
        _MULTISCALE,
        _MS_SSIM,
        structure.ms_ssim,
        smallest=21,
        formula=_MS_SSIM_FORMULA,
    ),
    "mask/checkerboard": MetricSpec(
        False,
        False,
        _CHECKERBOARD,
        _GRID,
        structure.checkerboard,
        smallest=4,
        formula=_CHECKERBOARD_FORMULA,
    ),
    "depth/rmse": MetricSpec(
        False,
        True,
        "Root of the mean squared error over known pixels.",
        _EIGEN,
        depth.rmse,
        Errors,
        main=True,
        formula="sqrt(mean((p - t)^2))",
    ),
    "depth/mae": MetricSpec(
        False,
        True,
        "Mean absolute error over known pixels.",
        "",
        depth.mae,
        Errors,
        main=True,
        formula="mean(|p - t|)",
    ),
    "depth/abs_rel": MetricSpec(
        False,
        False,
        f"Mean of |p - t| / t. {_FLOOR}",
        _EIGEN,
        depth.abs_rel,
        Ratios,
        formula="mean(|p - t| / t)",
    ),
    "depth/sq_rel": MetricSpec(
        False,
        True,
        f"Mean of (p - t)^2 / t. {_FLOOR}",
        _EIGEN,
        depth.sq_rel,
        Ratios,
        formula="mean((p - t)^2 / t)",
    ),
    "depth/log10": MetricSpec(
        False,
        False,
        f"Mean of |log10 p - log10 t|. {_FLOOR}",
        "Saxena, Sun, Ng, Make3D, TPAMI 2009",
        depth.log10,
        Ratios,
        formula="mean(|log10(p) - log10(t)|)",
    ),
    "depth/rmse_log": MetricSpec(
        False,
        False,
        f"Root of the mean of (ln p - ln t)^2. {_FLOOR}",
        _EIGEN,
        depth.rmse_log,
        Ratios,
        formula="sqrt(mean((log(p) - log(t))^2))",
    ),
    "depth/silog": MetricSpec(
        False,
        False,
        f"Scale-invariant log error, sqrt(mean g^2 - lambda (mean g)^2) with g = ln p - ln t and lambda = 1. {_FLOOR}",
        _EIGEN,
        depth.silog,
        Ratios,
        formula="sqrt(mean(g^2) - mean(g)^2), g = log(p) - log(t)",
    ),
    "depth/delta1": MetricSpec(
        True,
        False,
        f"Share of pixels with max(p/t, t/p) < 1.25. {_FLOOR}",
        _EIGEN,
        depth.delta1,
        Ratios,
        main=True,
        formula="mean(max(p/t, t/p) < 1.25)",
    ),
    "depth/delta2": MetricSpec(
        True,
        False,
        f"Share of pixels with max(p/t, t/p) < 1.25^2. {_FLOOR}",
        _EIGEN,
        depth.delta2,
        Ratios,
        formula="mean(max(p/t, t/p) < 1.25^2)",
    ),
    "depth/delta3": MetricSpec(
        True,
        False,
        f"Share of pixels with max(p/t, t/p) < 1.25^3. {_FLOOR}",
        _EIGEN,
        depth.delta3,
        Ratios,
        formula="mean(max(p/t, t/p) < 1.25^3)",
    ),
    "depth/ssim": MetricSpec(
        True,
        False,
        "Structural similarity of predicted and true depth, both over the depth maximum (Gaussian window 11, no "
        "padding).",
        _SSIM,
        structure.ssim,
        main=True,
        smallest=11,
        formula=_SSIM_FORMULA,
    ),
    "depth/ms_ssim": MetricSpec(
        True,
        False,
        _MULTISCALE,
        _MS_SSIM,
        structure.ms_ssim,
        smallest=21,
        formula=_MS_SSIM_FORMULA,
    ),
    "depth/checkerboard": MetricSpec(
        False,
        False,
        _CHECKERBOARD,
        _GRID,
        structure.checkerboard,
        smallest=4,
        formula=_CHECKERBOARD_FORMULA,
    ),
}
_NOT_POOLED = ("depth/silog",)  # of several images it would no longer be blind to each one's own scale


def _with_pooled() -> dict[str, MetricSpec]:
    table: dict[str, MetricSpec] = {}
    for target in ("mask", "depth"):
        lines = {name: spec for name, spec in _DEFINITIONS.items() if name.startswith(f"{target}/")}
        each = "Per image (and class), then the mean." if target == "mask" else "Per image, then the mean."
        for name, spec in lines.items():
            table[name] = replace(spec, meaning=f"{spec.meaning} {each}")
        for name, spec in lines.items():
            if spec.sums is not None and name not in _NOT_POOLED:
                meaning = f"{spec.meaning} All images together."
                table[pooled_name(name)] = replace(spec, meaning=meaning, pooled=True, by_class=False, main=False)
    return table


METRICS: dict[str, MetricSpec] = _with_pooled()


def base_metric(name: str) -> str:
    """Return the line of the table that a name belongs to, without its class or alignment."""
    base = "/".join(name.split("/")[:2])  # what follows may be a class with a slash in its name
    return base.partition("@")[0] if base.startswith("depth/") else base


def metric_spec(name: str, classes: Sequence[str] = ()) -> MetricSpec:
    """Return the line of the table for ``name``, which may name a class or an alignment as well.

    Raises
    ------
    UsageError
        For an unknown metric, class or alignment, with the nearest known one.
    """
    if name in METRICS:
        return METRICS[name]
    base = base_metric(name)
    spec = METRICS.get(base)
    if spec is not None and base.startswith("mask/") and spec.by_class and len(classes) > 1:
        label = name.removeprefix(f"{base}/")
        if label in classes:
            return replace(spec, meaning=f"{spec.meaning} Class {label} alone.", main=False)
    if spec is not None and base.startswith("depth/") and "@" in name:
        alignment = name.partition("@")[2]
        if alignment not in ALIGNMENTS:
            raise unknown_name("alignment", alignment, list(ALIGNMENTS))
        if spec.sums is None:
            raise UsageError(f"The metric {base!r} is not given with alignment; errors and deltas of depth are.")
        return replace(spec, meaning=f"{spec.meaning} Taken {ALIGNMENTS[alignment]}, image by image.", main=False)
    raise unknown_name("metric", name, [*METRICS, *class_metrics(classes)])


def higher_is_better(name: str) -> bool:
    """Tell which way is better, for a known metric; with a class or an alignment it is as without."""
    return METRICS[base_metric(name)].higher_is_better


def is_in_unit(name: str) -> bool:
    """Tell whether a metric is in the depth's unit; no for a name that is not known."""
    spec = METRICS.get(base_metric(name))
    return spec is not None and spec.in_unit


def alignments_of(name: str | None) -> tuple[str, ...]:
    """Return the alignments that scoring must add for this metric: () or one."""
    if name is None or not name.startswith("depth/") or "@" not in name:
        return ()
    return (name.partition("@")[2],)


def class_metrics(classes: Sequence[str]) -> list[str]:
    """Return the metrics of single classes; none where there is only one class."""
    kinds = [name for name, spec in METRICS.items() if spec.by_class]
    return [f"{kind}/{name}" for kind in kinds for name in classes] if len(classes) > 1 else []


def metrics_for(
    targets: Sequence[str], classes: Sequence[str] = (), *, side: int | None = None, align: Sequence[str] = ()
) -> list[str]:
    """Return the names of all metrics that fit these targets and classes, in table order.

    ``side`` is the images' smaller side in pixels (None: large enough for all); ``align`` adds the aligned ones.
    """
    here = {
        name: spec
        for name, spec in METRICS.items()
        if name.split("/")[0] in targets and (side is None or side >= spec.smallest)
    }
    aligned = [
        f"{name}@{alignment}"
        for alignment in align
        for name, spec in here.items()
        if name.startswith("depth/") and spec.sums is not None
    ]
    return [*here, *(class_metrics(classes) if "mask" in targets else []), *aligned]


def main_metrics(targets: Sequence[str], also: str | None = None) -> list[str]:
    """Return the few metrics that are scored after every epoch: the main ones of the targets, and ``also``."""
    names = [name for name, spec in METRICS.items() if spec.main and name.split("/")[0] in targets]
    return names if also is None or also in names else [*names, also]


def check_metric(
    name: str, targets: Sequence[str], classes: Sequence[str] = (), resolution: tuple[int, int] | None = None
) -> None:
    """Raise UsageError unless ``name`` is a metric of these targets that has a score for each image, of this size."""
    spec = metric_spec(name, classes)
    if name.split("/")[0] not in targets:
        raise UsageError(f"The metric {name!r} needs {name.split('/')[0]}, which is not trained here.")
    if spec.pooled:
        raise UsageError(
            f"The metric {name!r} has one value for all images together; runs are compared by one that scores each "
            f"image, such as {unpooled_name(name)!r}."
        )
    if resolution is not None and min(resolution) < spec.smallest:
        raise UsageError(f"The metric {name!r} needs at least {spec.smallest} px a side, not {resolution}.")


def default_metric(targets: Sequence[str]) -> str:
    """Return the metric that decides unless another is asked for."""
    return "mask/iou" if "mask" in targets else "depth/rmse"
