"""Write the pages of this folder that are made from the tables in the code, and their pictures: python docs/pages.py.

``python docs/pages.py --text`` leaves the pictures as they are, which take a minute.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from basrelief.listing import table
from basrelief.losses import LOSSES
from basrelief.losses.balance import WRAPPERS

HERE = Path(__file__).parent


def main() -> None:
    """Write every page, and every picture unless only the text is asked for."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page())
    if "--text" not in sys.argv[1:]:
        from pictures import write_pictures

        write_pictures()


def losses_page() -> str:
    """Return ``docs/losses.md``."""
    lines = [
        "# Losses",
        "",
        "Made from the tables in the code by `python docs/pages.py`; `basrelief list losses --json` gives the same.",
        "",
        "A loss is a sum of terms, each a loss of this page on a target, times a number:",
        "`2*rmse(depth) + bce(mask) + 2*dice(mask)`. In the formulas p is the prediction after the head's activation,",
        "x the logit before it, t the truth. Every loss looks at each image's known pixels first and then takes the",
        'mean over the images, unless it says otherwise or `over="batch"` pools the batch; computes in at least',
        "float32; and leaves unknown pixels out, in value and gradient. Gradients are of first order.",
        "",
        'Packages define losses of one name differently. `like="monai"` takes that package\'s definition; the options',
        "it stands for are listed, and an option written beside it wins. They hold for binary targets that are known",
        "everywhere; tests compare them with the installed packages, and with formulas written out for those that are",
        "not installed (mmseg, ultralytics, depth_anything, mde_toolbox) and for the write-ups A, C and D.",
        "",
        "The pictures show values and gradients of these very functions, drawn by `python docs/pages.py`. Those of",
        "masks have a disc of radius 16 in 64x64 px as truth (`cl_dice`, which looks at thin things, a ring), and as",
        "prediction the same with a soft edge, elsewhere or larger or smaller. Those of depth have a generated room",
        "with a figure, over its maximum. Gradients are shown as what a descent does with them: where it is blue the",
        "prediction is pushed up, where it is orange down; strength is the root of the size, so that small ones are",
        "seen. Values of two losses are no measure of each other; their shapes are what differs.",
        "",
        "| loss | for | |",
        "|---|---|---|",
    ]
    for name, spec in LOSSES.items():
        anchor = f"[{name}](#{name})"
        lines.append(f"| {anchor} | {', '.join(spec.targets)} | {_cell(spec.summary)} |")
    for name, wrapper in WRAPPERS.items():
        lines.append(f"| [{name}](#{name}) | a sum | {_cell(wrapper.summary)} |")
    for line in table("losses"):
        lines += ["", f"## {line['name']}", "", line["definition"], "", f"`{line['formula']}`", ""]
        lines.append(f"Source: {line['source']}.")
        if line["kind"] == "loss":
            lines += ["", f"![{_told(line['name'])}](pictures/loss-{line['name']}.svg)"]
        if line["options"]:
            lines += ["", "| option | default | takes | meaning |", "|---|---|---|---|"]
            for option, facts in line["options"].items():
                cells = (f"`{option}`", f"`{facts['default']!r}`", facts["takes"], facts["meaning"])
                lines.append(f"| {' | '.join(map(_cell, cells))} |")
        if line.get("like"):
            lines += ["", "| `like=` | the same as |", "|---|---|"]
            for package, options in line["like"].items():
                shown = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
                given = ", ".join(f"{name}={value!r}" for name, value in shown.items()) or "our definition"
                lines.append(f'| `"{package}"` | `{given}` |' if options else f'| `"{package}"` | {given} |')
    return "\n".join([*lines, ""])


def metrics_page() -> str:
    """Return ``docs/metrics.md``."""
    lines = [
        "# Metrics",
        "",
        "Made from the table in the code by `python docs/pages.py`; `basrelief list metrics --json` gives the same.",
        "",
        "A metric is computed on every image, and the report shows the mean over images; `_pooled` ones have a single",
        "value for all images together, so that runs cannot be compared by them image by image and `--metric`",
        "refuses them. With several classes, `mask/iou/CLASS` and `mask/dice/CLASS` are there as well. Any error or",
        "delta of depth can be asked for after alignment: `--metric depth/rmse@median` scales each prediction to the",
        "true median, `--metric depth/rmse@scale_shift` fits scale and shift by least squares; nothing is aligned",
        "otherwise.",
        "",
        "An empty mask scores 1 where nothing is predicted and 0 where anything is. How many there are is in `counts`",
        "of `run.json` and of `evaluate --json`; where most masks are empty, as with many classes, predicting nothing",
        "does well, and the pooled scores tell more.",
        "",
        "In the formulas p is the prediction (of a hard mask 1 above the threshold and 0 below), t the truth; sums and",
        "means are over an image's known pixels. The pictures are of a disc of radius 16 in 64x64 px that is predicted",
        "elsewhere, larger, less surely or with a pattern on it, and of a generated room whose depth, over its",
        "maximum, is scaled, shifted, noisy or blurred: what a score notices, and what it does not.",
        "",
        "| metric | better | unit | meaning |",
        "|---|---|---|---|",
    ]
    for line in table("metrics"):
        name = f"`{line['name']}`" if line["pooled"] else f"[{line['name']}](#{line['name'].replace('/', '')})"
        cells = (name, line["better"], line["unit"], line["summary"])
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    for line in table("metrics"):
        if not line["pooled"]:
            lines += ["", f"## {line['name']}", "", line["summary"], "", f"`{line['formula']}`", ""]
            lines += [f"Source: {line['source']}.", ""] if line["source"] else []
            file = f"pictures/{line['name'].replace('/', '-')}.svg"
            lines.append(f"![How {line['name']} changes as a prediction gets worse, in four ways]({file})")
    return "\n".join([*lines, ""])


def augment_page() -> str:
    """Return ``docs/augment.md``."""
    lines = [
        "# Augmentation",
        "",
        "Made from the table in the code by `python docs/pages.py`; `basrelief list augmentations --json` gives the",
        "same. Steps stand with + between them, each at most once, with options by name or in the order given here:",
        "",
        "    flip + rotate(10) + scale(0.8, 1.25) + brightness(0.2) + cutout(size=0.3)",
        "",
        "Every step has `p`, the probability that a sample gets it. `none` is no augmentation. Only training batches",
        "are augmented, on the device, at the training resolution.",
        "",
        "**What moves together.** All geometry of a sample is put into one map, and image, background, mask, depth",
        "and what is known of them are sampled at the same positions, once: images bilinear, everything else by the",
        "nearest pixel. So masks stay 0 and 1, depth of two surfaces never mixes, and an unknown pixel's value",
        "reaches no known one. Flips and turns alone only put pixels elsewhere, bit for bit. Geometry comes first,",
        "then colour, then cutout; within each, steps follow as written, elastic after other geometry.",
        "",
        "**The border** is reflected, for all planes alike, so nothing is unknown or black there.",
        "",
        "**Shrinking.** Where a sample's zoom is below 2/3, its pictures are smoothed first by a Gaussian of",
        "(1/zoom-1)/2 pixels; above that, bilinear sampling alone is clean enough. Targets are never smoothed.",
        "",
        "**Depth.** To a fixed camera, things that appear s times larger are s times nearer. So a zoom by s (scale,",
        "crop, pad) divides depth of kind `metric` by s, multiplies `disparity` by s, and leaves `relative` as it is.",
        "What would exceed the run's maximum becomes unknown: with zooms below 1, distant walls do. `scale(low=1)`",
        "and `crop` only bring things nearer. Rotation, shift and elastic leave depth as it is.",
        "",
        "**Colour** changes image and background by the same numbers and the same noise, so the two stay identical",
        "outside the figure; for that reason no step looks at the picture's own mean. `apart=True` on a colour step",
        "draws for the background separately. Steps that are linear in colour become one matrix, applied in one pass;",
        "values are clamped to [0, 1] once, at the end. Blur and JPEG spread the figure by their own reach.",
        "",
        "**Draws.** The numbers of a sample depend on the run's seed, the epoch and the step of training, not on the",
        "loss, the targets or the other steps: every trial of a seed sees the same. They are drawn on the CPU, so",
        "every device sees the same too, noise grain apart.",
        "",
        "| step | | p | |",
        "|---|---|---|---|",
    ]
    for line in table("augmentations"):
        cells = (f"[{line['name']}](#{line['name']})", f"`{line['formula']}`", f"{line['p']:g}", line["summary"])
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    for line in table("augmentations"):
        lines += ["", f"## {line['name']}", "", line["definition"]]
        lines += ["", f"Source: {line['source']}."] if line["source"] else []
        own = {name: facts for name, facts in line["options"].items() if name not in ("p", "apart")}
        if own:
            lines += ["", "| option | default | takes | meaning |", "|---|---|---|---|"]
            for option, facts in own.items():
                cells = (f"`{option}`", f"`{facts['default']!r}`", facts["takes"], facts["meaning"])
                lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join([*lines, ""])


def _told(name: str) -> str:
    """Return what those who cannot see a loss's picture are told."""
    return f"Values of {name} as a prediction gets worse in three ways, and its gradient for one prediction"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


PAGES: dict[str, Callable[[], str]] = {
    "augment.md": augment_page,
    "losses.md": losses_page,
    "metrics.md": metrics_page,
}

if __name__ == "__main__":
    main()
