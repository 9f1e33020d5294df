"""The model card: what a network is, how to use it, what it was made from, how well it does, and its limits."""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from basrelief.errors import UsageError
from basrelief.metrics import higher_is_better, is_in_unit, main_metrics

TASKS = {"mask": "image-segmentation", "depth": "depth-estimation"}  # the hub's names
DRAWN = ("scenes", "purdue-shapes")  # formats whose images come from a program
FEW_TRAIN, FEW_TEST = 100, 30  # images, below which the card says that they are few
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,59}")
_DASH = "–"


def write_card(config: Mapping[str, Any], name: str, *, license: str | None = None) -> str:
    """Return the card as Markdown with the hub's YAML in front.

    All of it follows from facts; where one is missing, the card says so or is silent. Texts that users typed (names of
    classes, losses) are made plain.

    Parameters
    ----------
    config
        What ``config.json`` holds: ``carried(run)``, and "origin" where it is known.
    name
        The hub's OWNER/NAME, or the name of a folder.
    license
        An identifier such as "apache-2.0".

    Raises
    ------
    UsageError
        When the licence is no identifier.
    """
    if license is not None and not _LICENCE.fullmatch(license):
        raise UsageError(f"license={license!r}: expected an identifier, such as apache-2.0, cc-by-4.0 or other.")
    origin = config.get("origin") or {}
    parts = [
        f"# {plain(name)}",
        _what(config),
        "## Use",
        _use(config, name),
        "## Data",
        _table(("Fact", "Value"), _data_rows(config, origin)),
        "## Training",
        _table(("Setting", "Value"), _training_rows(config, origin)),
    ]
    if origin.get("verdict"):
        parts += ["## Why this one", _verdict(origin["verdict"])]
    parts += ["## Scores", _scores(config, origin), "## Limits", _bullets(find_limits(config)), "## Licence"]
    parts.append(
        f"`{license}`." if license else "None is stated. Ask whoever shares this network before you use or pass it on."
    )
    front = yaml.safe_dump(_front(config, license), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{front}---\n\n" + "\n\n".join(parts) + "\n"


def find_limits(config: Mapping[str, Any]) -> list[str]:
    """Return what somebody who uses the network should know before relying on it, in sentences."""
    origin = config.get("origin") or {}
    data, verdict = origin.get("data") or {}, origin.get("verdict")
    samples = config.get("samples") or {}
    height, width = config["resolution"]
    found = []
    train, test = samples.get("train"), samples.get("test")
    if train is not None and train < FEW_TRAIN:
        found.append(f"It was trained on only {train} images: expect it to fail on what they do not show.")
    if test == 0:
        found.append("No image was kept for testing, so how well it does on images it has not seen is not known.")
    elif test is not None and test < FEW_TEST:
        found.append(f"It was tested on only {test} images, so its scores are rough.")
    if data.get("format") in DRAWN:
        found.append("Its images were drawn by a program; it has seen no photograph.")
    if data.get("groups") == 1:
        found.append("All its images are of one group; nothing shows how it does on another.")
    found += [plain(caution) for caution in data.get("cautions") or []]
    size = config.get("image_size")
    coarse = size and max(size[0] / height, size[1] / width)
    found.append(
        f"It sees an image at {width} × {height} px, unless in tiles; what is finer than a pixel there is lost."
        + (f" Its images were {coarse:.1f} times as large." if coarse and coarse >= 1.5 else "")
    )
    if config["background"]:
        found.append("It needs the empty background beside the image, taken from the same place in the same light.")
    if "depth" in config["targets"]:
        found += _depth_limits(config)
    if not (config.get("settings") or {}).get("mask_values") and "mask" in config["targets"]:
        found.append("Its probabilities are what it was trained to give; nobody has calibrated them.")
    if not verdict:
        found.append("Its loss was chosen, not compared: no study stands behind it.")
    found.append("Scores are of images like those it was trained on. Look at its results on yours before you use them.")
    return found


def plain(text: str) -> str:
    """Return a text on one line that neither Markdown nor HTML reads any markup in."""
    escaped = re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", " ".join(str(text).split()))
    return html.escape(escaped, quote=False)


def _code(text: str) -> str:
    """Return a text as code, where it can stand as such in a table; else plain."""
    one = " ".join(str(text).split())
    return plain(one) if set(one) & set("`|<>&") or not one else f"`{one}`"


def _front(config: Mapping[str, Any], license: str | None) -> dict[str, Any]:
    tasks = [TASKS[target] for target in config["targets"]]
    metrics = _shown(config)
    return {
        "library_name": "basrelief",
        "pipeline_tag": tasks[0],
        "tags": ["basrelief", *tasks],
        **({"license": license} if license else {}),
        **({"metrics": metrics} if metrics else {}),
    }


def _what(config: Mapping[str, Any]) -> str:
    gives = []
    classes = config["classes"]
    if "mask" in config["targets"]:
        names = ", ".join(plain(name) for name in classes)
        gives.append(f"a mask of {names}" if len(classes) == 1 else f"a mask for each of {len(classes)} classes")
    if "depth" in config["targets"]:
        unit, kind = config.get("depth_unit"), config.get("depth_kind")
        gives.append(f"{plain(kind) + ' ' if kind else ''}depth{f' in {plain(unit)}' if unit else ''}")
    takes = "an image and its empty background" if config["background"] else "an image"
    count = config.get("parameters")
    size = f" of {count:,} parameters" if count else ""
    return (
        f"From {takes}: {' and '.join(gives)}, at the image's own size. A {_code(config['network'])}{size}, made with "
        "Basrelief."
    )


def _use(config: Mapping[str, Any], name: str) -> str:
    target = shlex.quote(f"hf://{name}" if "/" in name else name)
    second = ', Image.open("empty.jpg")' if config["background"] else ""
    shows = []
    if "mask" in config["targets"]:
        shape = "(H, W)" if len(config["classes"]) == 1 else f"({len(config['classes'])}, H, W)"
        shows += [f"result.mask         # bool {shape}", f"result.probability  # float32 {shape}, 0 to 1"]
    if "depth" in config["targets"]:
        unit = " ".join(str(config.get("depth_unit") or "").split())
        shows.append(f"result.depth        # float32 (H, W){f', in {unit}' if unit else ''}")
    background = " --background empty.jpg" if config["background"] else ""
    lines = [
        "```python",
        "import basrelief as br",
        "from PIL import Image",
        "",
        f"predictor = br.Predictor.from_pretrained({name!r})",
        f'result = predictor(Image.open("photo.jpg"){second})',
        *shows,
        "```",
        "",
        "```sh",
        "pip install basrelief",
        f"basrelief predict {target} photos/ --out out/{background}",
        "```",
        "",
        "The weights are safetensors and everything else is JSON; no code comes with them.",
    ]
    return "\n".join(lines)


def _data_rows(config: Mapping[str, Any], origin: Mapping[str, Any]) -> list[tuple[str, str]]:
    data, samples = origin.get("data") or {}, config.get("samples") or {}
    height, width = config["resolution"]
    rows = [
        ("Images", ", ".join(f"{samples[s]:,} {s}" for s in ("train", "val", "test") if samples.get(s) is not None))
    ]
    if "mask" in config["targets"]:
        rows.append(("Classes", ", ".join(plain(name) for name in config["classes"])))
    if "depth" in config["targets"]:
        words = [plain(config.get("depth_kind") or "kind not known"), plain(config.get("depth_unit") or "no unit")]
        rows.append(("Depth", f"{', '.join(words)}; up to {_number(config['depth_max'])}"))
    if config["background"]:
        rows.append(("Background", "an empty one beside each image"))
    rows.append(("Seen at", f"{width} × {height} px"))
    if config.get("image_size"):
        rows.append(("Own size", f"{_size(config['image_size'])} (median)"))
    if data.get("groups"):
        rows.append(("Groups", f"{data['groups']:,}"))
    if data.get("split"):
        rows.append(("Split", plain(data["split"])))
    if data.get("format"):
        rows.append(("Format", plain(data["format"])))
    return [row for row in rows if row[1]]


def _training_rows(config: Mapping[str, Any], origin: Mapping[str, Any]) -> list[tuple[str, str]]:
    training = origin.get("training") or {}
    rows = [("Loss", _code(config["loss"]) if config.get("loss") else "")]
    if training.get("epochs"):
        best = training.get("best_epoch")
        kept = f"; the weights are those after epoch {best}, the best on validation" if best else ""
        rows.append(("Epochs", f"{training['epochs']}{kept}"))
    for label, key in (("Batch size", "batch_size"), ("Learning rate", "lr"), ("Start", "start")):
        if training.get(key) is not None:
            rows.append((label, plain(str(training[key]))))
    for label, key in (("Optimizer", "optimizer"), ("Schedule", "schedule"), ("Augmentation", "augment")):
        if training.get(key):
            rows.append((label, _code(training[key])))
    if config.get("seed") is not None:
        rows.append(("Seed", str(config["seed"])))
    versions = config.get("versions") or {}
    made = ", ".join(f"{name} {plain(versions[name])}" for name in ("basrelief", "torch") if versions.get(name))
    return [row for row in [*rows, ("Made with", made)] if row[1]]


def _verdict(verdict: Mapping[str, Any]) -> str:
    lines = [f"A controlled experiment stands behind it. {plain(verdict['summary'])}"]
    stand = {
        "won": "is the winner's",
        "lost": "is not the winner's",
        "open": "is of one of those compared; none has won",
    }
    if verdict.get("stand") in stand:
        lines.append(f"This network {stand[verdict['stand']]}.")
    if verdict.get("warnings"):
        lines += ["To be read with care:", _bullets([plain(warning) for warning in verdict["warnings"]])]
    return "\n\n".join(lines)


def _scores(config: Mapping[str, Any], origin: Mapping[str, Any]) -> str:
    names = _shown(config)
    if not names:
        return "There is no score on test images."
    intervals = origin.get("intervals") or {}
    unit = config.get("depth_unit")
    rows, grouped = [], False
    for name in names:
        interval = intervals.get(name) or {}
        low, high = interval.get("low"), interval.get("high")
        grouped = grouped or interval.get("groups") is not None
        rows.append(
            (
                f"`{name}`" + (f" in {plain(unit)}" if unit and is_in_unit(name) else ""),
                _number(config["metrics"][name]),
                f"{_number(low)} to {_number(high)}" if low is not None and high is not None else _DASH,
                "higher" if higher_is_better(name) else "lower",
            )
        )
    height, width = config["resolution"]
    tested = (config.get("samples") or {}).get("test")
    said = f"Means over {f'{tested:,} ' if tested else ''}test images, at {width} × {height} px."
    if intervals:
        units = "groups of images" if grouped else "images"
        said += f" The interval is for the mean over further {units} like these, of this one training."
    return "\n\n".join([_table(("Metric", "Mean", "95 % interval", "Better"), rows), said])


def _shown(config: Mapping[str, Any]) -> list[str]:
    """Return the names of the metrics of the table: the main ones of the targets, and the one that chose."""
    metrics = config.get("metrics") or {}
    names = main_metrics(config["targets"], (config.get("settings") or {}).get("metric"))
    return [name for name in names if metrics.get(name) is not None]


def _depth_limits(config: Mapping[str, Any]) -> list[str]:
    unit, kind = config.get("depth_unit"), config.get("depth_kind")
    found = []
    if kind == "metric":
        found.append(
            f"It has learnt depth up to {_number(config['depth_max'])}{f' {plain(unit)}' if unit else ''}; farther "
            "things come out nearer than they are. Another camera or another lens shifts its scale."
        )
    elif kind == "disparity":
        found.append("Its depth is disparity: larger is nearer, and no distance follows without the camera.")
    else:
        found.append("Its depth tells nearer from farther; no distance follows from it.")
    return found


def _size(size: Sequence[int]) -> str:
    return f"{size[1]} × {size[0]} px"


def _number(value: float | None) -> str:
    return _DASH if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines)


def _bullets(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
