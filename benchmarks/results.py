"""The write-ups' experiments run again: what ``docs/results.md`` shows.

    python benchmarks/results.py --scale small --out runs/results mask-losses purdue-shapes   run, keep figures
    python benchmarks/results.py --page                                                       write the page

Each recipe is run with the split that leaks nothing and, where the write-up's own leaked, with theirs. Every network is
judged on its test images, and those of quartets once more on fresh ones, whose backgrounds and figures nobody trained
on: by our metrics, and by the write-up's own definitions, batch by batch as it did. Figures go to
``docs/results/NAME.json``, pictures beside them; both are committed, so that the page can be made without training.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import basrelief as br
from basrelief.app_report import report
from basrelief.batch import Batch
from basrelief.data.loader import Loader
from basrelief.data.store import open_store
from basrelief.engine.evaluate import activate, evaluate, forward, in_label_values
from basrelief.inference.load import load_run
from basrelief.recipes.made_quartets import UNSEEN
from basrelief.studies.stored import reopen

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
FIGURES = PAGE.parent / "results"
FRESH_IMAGES = 500  # at most
Judge = Callable[[dict[str, Tensor], Batch, Mapping[str, str]], Tensor]


def as_loss(expression: str, turned: bool = False) -> Judge:
    """Return a judge that is a loss of ours, in the write-up's definition; or one minus it."""
    loss = br.parse_loss(expression)

    def judge(logits: dict[str, Tensor], batch: Batch, activations: Mapping[str, str]) -> Tensor:
        total = loss(logits, batch, activations=activations).total
        return 1 - total if turned else total

    return judge


def hard_iou(logits: dict[str, Tensor], batch: Batch, activations: Mapping[str, str]) -> Tensor:
    """Return the IoU of all pixels of a batch, above one half."""
    pred, target = activate(logits, activations)["mask"] > 0.5, batch["mask"] > 0.5
    return (pred & target).sum() / (pred | target).sum().clamp(min=1)


def hard_dice(logits: dict[str, Tensor], batch: Batch, activations: Mapping[str, str]) -> Tensor:
    """Return the mean over images of the Dice score above one half, write-up C's 1e-6 below the line."""
    pred, target = (
        plane.flatten(1).double() for plane in (activate(logits, activations)["mask"] > 0.5, batch["mask"] > 0.5)
    )
    return (2 * (pred * target).sum(1) / (pred.sum(1) + target.sum(1) + 1e-6)).mean()


def known_rmse(logits: dict[str, Tensor], batch: Batch, activations: Mapping[str, str]) -> Tensor:
    """Return write-up A's RMSE: over all pixels of a batch whose depth, in [0, 1], is above 1e-4."""
    pred, target = activate(logits, activations)["depth"], batch["depth"]
    return (pred - target)[target > 1e-4].square().mean().sqrt()


IOU, RMSE = "IoU of a batch", "RMSE of a batch, depth in [0, 1]"
A_BOTH = {IOU: hard_iou, RMSE: known_rmse}
SOFT = {
    "soft Dice of the mask": as_loss("dice(mask, like='A')", turned=True),
    "soft Dice of the depth": as_loss("dice(depth, like='A')", turned=True),
    RMSE: as_loss("rmse(depth, over='batch')"),
}
C_LOSSES = {
    "BCE of the mask": as_loss("bce(mask)"),
    "SSIM loss of the depth (windows 5 and 11)": as_loss("ssim(depth, like='C')"),
    "Dice of an image": hard_dice,
    "SSIM of the depth": as_loss("ssim(depth)", turned=True),
}


class Experiment(NamedTuple):
    """A recipe's command, which of our metrics are shown, the write-up's own, and the options of its leaky split."""

    command: str
    ours: tuple[str, ...]
    theirs: Mapping[str, Judge]
    leaky: Mapping[str, Any] | None = None


SPLITS = ("leak-free", "leaky")
LEAKY = {"split": "random"}
EXPERIMENTS = {
    "mask-losses": Experiment("study", ("mask/iou",), {IOU: hard_iou}, LEAKY),
    "mask-depth-losses": Experiment("study", ("mask/iou", "depth/rmse", "depth/delta1"), A_BOTH, LEAKY | {"seeds": 1}),
    "progressive": Experiment("train", ("mask/iou", "depth/rmse", "depth/delta1"), A_BOTH),
    "depthmasknet": Experiment("train", ("mask/dice", "depth/rmse", "depth/delta1"), SOFT, LEAKY),
    "checkerboard": Experiment("study", ("mask/iou", "depth/rmse", "depth/checkerboard"), SOFT),
    "resunet": Experiment("train", ("mask/dice", "depth/ssim", "depth/rmse"), C_LOSSES, LEAKY),
    "resunet-losses": Experiment("study", ("mask/iou", "mask/dice", "depth/ssim", "depth/rmse"), C_LOSSES),
    "purdue-shapes": Experiment(
        "study",
        ("mask/iou", "mask/iou_pooled"),
        {
            "MSE on label values": as_loss("mse(mask, like='D')"),
            "pixelwise Dice loss on label values": as_loss("pixel_dice(mask)"),
        },
    ),
    "coco-objects": Experiment(
        "study",
        ("mask/iou", "mask/iou_pooled"),
        {"MAE on label values": as_loss("l1(mask)"), "pixelwise Dice loss": as_loss("pixel_dice(mask)")},
    ),
}


def run(name: str, scale: str, home: Path, splits: Sequence[str]) -> dict[str, Any]:
    """Run an experiment on these splits, the leaky one where the write-up's own was, and return its figures."""
    experiment = EXPERIMENTS[name]
    found: dict[str, Any] = {"recipe": name, "scale": scale, "splits": {}}
    before = FIGURES / f"{name}.json"
    if before.exists() and (kept := json.loads(before.read_text(encoding="utf-8")))["scale"] == scale:
        found["splits"] |= kept["splits"]  # of the split that is not run now
    for split, options in (("leak-free", {}), ("leaky", experiment.leaky)):
        if options is None or split not in splits:
            continue
        out, start = home / f"{name}-{scale}-{split}", time.monotonic()
        document = getattr(br, experiment.command)(recipe=name, scale=scale, out=out, **options)
        seconds = time.monotonic() - start
        rows = judge_all(out, experiment, home / "fresh")
        found["splits"][split] = {"seconds": seconds, "losses": summarise(rows), **about(document, out)}
        if split == "leak-free" and experiment.command == "study":
            keep_picture(out, name)
    return found


def about(document: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Return what a study or run says of itself that the page shows."""
    prepared = reopen(out)
    facts = prepared.store.facts
    said = {
        "resolution": list(facts.resolution),
        "images": {part: len(rows) for part, rows in prepared.split.rows.items()},
        "epochs": prepared.plan.train.epochs,
        "batch_size": prepared.plan.train.batch_size,
        "cautions": list(prepared.split.cautions),
    }
    if "pairs" not in document:
        return {**said, "loss": document["loss"], "parameters": document["parameters"]}
    kept = ("a", "b", "difference", "ci", "decision")
    pairs = [{key: pair[key] for key in kept} for pair in document["pairs"]]
    failed = {row["name"]: row["failed"] for row in document["losses"]}
    return {**said, "winner": document["winner"], "summary": document["summary"], "pairs": pairs, "failed": failed}


def judge_all(out: Path, experiment: Experiment, cache: Path) -> dict[str, list[dict[str, float]]]:
    """Return, for each loss, what every finished training of it scores; ``fresh:`` before scores on fresh images."""
    prepared, found = reopen(out), defaultdict(list)
    train = prepared.plan.train
    store = prepared.store
    loaders = {"": (store, prepared.split.rows["test"])}
    fresh = Path(prepared.plan.data.location).parent / UNSEEN
    if fresh.exists():
        height, width = store.facts.resolution
        place = cache / f"{fresh.parent.name}-{height}x{width}"
        br.pack(fresh, place, resolution=(height, width), depth_max=store.facts.depth_max)
        other = open_store(place)
        spread = np.linspace(0, other.facts.count - 1, min(FRESH_IMAGES, other.facts.count))
        loaders["fresh: "] = (other, np.unique(spread.astype(np.int64)))
    for trial in prepared.plan.trials():
        folder = out / trial.folder if experiment.command == "study" else out
        if (
            not (folder / "run.json").exists()
            or json.loads((folder / "run.json").read_text()).get("status") != "finished"
        ):
            continue
        document, model = load_run(folder)
        scores = {}
        for prefix, (data, rows) in loaders.items():
            loader = Loader(
                data, rows, train.batch_size, torch.device("cpu"),
                targets=document["targets"], background=prepared.plan.background,
            )  # fmt: skip
            scores |= {prefix + key: value for key, value in judge(model, loader, document, experiment).items()}
        found[trial.name].append(scores)
    return found


def judge(
    model: torch.nn.Module, loader: Loader, document: Mapping[str, Any], experiment: Experiment
) -> dict[str, float]:
    """Return a network's scores on a loader's images, by ours and by the write-up's definitions."""
    activations = document["activations"]
    _, ours = evaluate(model, loader, activations)
    scores = {name: float(np.nanmean(ours[name])) for name in experiment.ours if name in ours and ours[name].ndim == 1}
    sums: dict[str, float] = defaultdict(float)
    with torch.inference_mode():
        for rows, batch in loader.in_order():
            logits, shown = in_label_values(forward(model, batch), batch, getattr(model, "mask_values", None))
            for name, measure in experiment.theirs.items():
                if needed(name) <= set(document["targets"]):
                    sums[f"theirs: {name}"] += float(measure(logits, shown, activations)) * len(rows)
    return scores | {name: total / len(loader.rows) for name, total in sums.items()}


def needed(name: str) -> set[str]:
    """Return the target that a write-up's measure looks at."""
    return {"depth"} if "depth" in name else {"mask"}


def summarise(rows: Mapping[str, Sequence[Mapping[str, float]]]) -> list[dict[str, Any]]:
    """Return each loss with the mean, smallest and largest of its seeds for every score."""
    return [
        {
            "name": name,
            "seeds": len(scores),
            "scores": {
                key: [statistics.mean(of), min(of), max(of)]
                for key in scores[0]
                for of in [[row[key] for row in scores]]
            },
        }
        for name, scores in rows.items()
    ]


def keep_picture(out: Path, name: str, width: int = 1100) -> None:
    """Keep the study's sheet of pictures beside the figures, as a JPEG of a page's width."""
    with Image.open(report(out, to="png")["written"]) as picture:
        small = picture.convert("RGB")
        small.thumbnail((width, 4 * width))
        small.save(FIGURES / f"{name}.jpg", quality=80, optimize=True)


# recipe -> loss ("*" any) -> measure -> what the write-up printed
PUBLISHED: dict[str, dict[str, dict[str, str]]] = {
    "mask-depth-losses": {
        "rmse and bce and dice": {IOU: "0.893", RMSE: "0.021"},
        "ssim and dice": {IOU: "0.891", RMSE: "0.020"},
        "rmse and bce": {IOU: "0.826", RMSE: "0.021"},
    },
    "progressive": {"*": {IOU: "0.92", RMSE: "0.014"}},
    "depthmasknet": {"*": {"soft Dice of the mask": "0.98", "soft Dice of the depth": "0.59", RMSE: "0.246"}},
    "resunet": {
        "*": {
            "BCE of the mask": "0.0340",
            "SSIM loss of the depth (windows 5 and 11)": "0.0420",
            "Dice of an image": "0.7517",
            "SSIM of the depth": "0.9158",
        }
    },
    "purdue-shapes": {
        "mse": {"MSE on label values": "300 to 400"},
        "dice": {"pixelwise Dice loss on label values": "0.8 to 1"},
    },
    "coco-objects": {"mae": {"MAE on label values": "72 to 75"}},
}


def table(figures: Mapping[str, Any]) -> list[str]:
    """Return the tables of an experiment: each loss's scores on every split, and how pairs were decided."""
    splits = figures["splits"]
    measures = list(splits["leak-free"]["losses"][0]["scores"]) if splits["leak-free"]["losses"] else []
    plain = [name for name in measures if not name.startswith("fresh: ")]
    columns = [f"{split}, {images}" for split in splits for images in ("test", "fresh") if has(splits[split], images)]
    lines = []
    published = PUBLISHED.get(figures["recipe"], {})
    for measure in plain:
        own = measure.startswith("theirs: ")
        title = measure.removeprefix("theirs: ") + (" (their definition)" if own else " (ours)")
        lines += ["", f"| {title} | {'published | ' if own else ''}{' | '.join(columns)} |"]
        lines.append("|---" * (1 + own + len(columns)) + "|")
        for row in splits["leak-free"]["losses"]:
            printed = published.get(row["name"], published.get("*", {}))
            cells = [printed.get(measure.removeprefix("theirs: "), "—")] if own else []
            for split in splits.values():
                scores = next((other["scores"] for other in split["losses"] if other["name"] == row["name"]), {})
                cells += [shown(scores.get(key)) for key in (measure, f"fresh: {measure}") if has_key(split, key)]
            lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    for split, found in splits.items():
        if found.get("pairs"):
            lines += ["", f"| {split} split: pair | difference | 95 % interval | decision |", "|---|---|---|---|"]
            lines += [decided(pair) for pair in found["pairs"]]
    return lines


def has(split: Mapping[str, Any], images: str) -> bool:
    """Return whether a split was judged on these images."""
    return images == "test" or any(key.startswith("fresh: ") for row in split["losses"] for key in row["scores"])


def has_key(split: Mapping[str, Any], key: str) -> bool:
    """Return whether any loss of a split has a score."""
    return any(key in row["scores"] for row in split["losses"])


def shown(score: Sequence[float] | None) -> str:
    """Return a mean over seeds, with the smallest and the largest where there are several."""
    if score is None:
        return "failed"
    mean, low, high = (f"{value:.3g}" for value in score)
    return mean if low == high else f"{mean} ({low} to {high})"


def decided(pair: Mapping[str, Any]) -> str:
    """Return a line of the table of pairs."""
    decision = {"a": f"{pair['a']} is better", "b": f"{pair['b']} is better", "equal": "practically equal"}
    said = decision.get(pair["decision"], pair["decision"])
    if pair["difference"] is None:
        return f"| {pair['a']} against {pair['b']} | — | — | {said} |"
    low, high = pair["ci"]
    interval = "—" if low is None else f"{low:+.4f} to {high:+.4f}"
    return f"| {pair['a']} against {pair['b']} | {pair['difference']:+.4f} | {interval} | {said} |"


def setting(figures: Mapping[str, Any]) -> str:
    """Return a sentence that says what was run."""
    found = figures["splits"]["leak-free"]
    height, width = found["resolution"]
    images = ", ".join(f"{count:,} {part}" for part, count in found["images"].items())
    seeds = max((row["seeds"] for row in found["losses"]), default=0)
    seconds = sum(split["seconds"] for split in figures["splits"].values())
    return (
        f"*Scale {figures['scale']}: {images} images at {width} × {height}, {found['epochs']} epochs, {seeds} "
        f"seed{'s' * (seeds != 1)}; {seconds / 60:.0f} minutes in all, beside other work.*"
    )


def write_page() -> None:
    """Put the figures that are there between the page's markers."""
    text = PAGE.read_text(encoding="utf-8")
    for path in sorted(FIGURES.glob("*.json")):
        begin, end = f"<!-- figures: {path.stem} -->", "<!-- end -->"
        head, found, rest = text.partition(begin)
        if not found:
            raise SystemExit(f"{PAGE} has no place for {path.stem}: expected the line {begin}")
        figures = json.loads(path.read_text(encoding="utf-8"))
        picture = [f"![{path.stem}](results/{path.stem}.jpg)"] if path.with_suffix(".jpg").exists() else []
        lines = ["", setting(figures), *table(figures), "", *picture]
        text = head + begin + "\n".join(lines).rstrip() + "\n\n" + end + rest.partition(end)[2]
    PAGE.write_text(text, encoding="utf-8")


def main() -> None:
    """Run what is named, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=", ".join(EXPERIMENTS))
    parser.add_argument("--scale", default="small", choices=("smoke", "small", "full"))
    parser.add_argument("--out", type=Path, default=Path("runs/results"))
    parser.add_argument("--split", choices=SPLITS, help="one alone; the figures of the other are kept")
    parser.add_argument("--page", action="store_true", help="only write the page")
    options = parser.parse_args()
    FIGURES.mkdir(exist_ok=True)
    for name in () if options.page else options.recipes or EXPERIMENTS:
        figures = run(name, options.scale, options.out, [options.split] if options.split else SPLITS)
        text = json.dumps(figures, indent=1, ensure_ascii=False)
        (FIGURES / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        print("\n".join([f"# {name}", setting(figures), *table(figures)]), flush=True)
    write_page()


if __name__ == "__main__":
    main()
