"""The command line that makes a study or a range test again, with everything that was chosen spelt out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from basrelief.studies.factors import FACTORS, spell


def repeat_command(document: Mapping[str, Any]) -> str:
    """Return the command line that asks for the same study or range test, with what was chosen spelt out."""
    asked, plan = document["asked"], document["plan"]
    words = ["basrelief", document["kind"], asked["data"]["location"]]
    factor = plan.get("factor", "loss")
    for name, expression in plan["losses"].items() if factor == "loss" else ():
        words += ["--loss", expression if name == expression else f"{name} = {expression}"]
    chosen = plan["train"] | {name: plan["machine"][name] for name in ("device", "precision", "threads", "compile")}
    if stages := chosen.pop("stages"):  # which say these three
        chosen |= {"resolution": ",".join(map(spell_stage, stages)), "epochs": None, "batch_size": None}
    if factor != "loss":
        setting = FACTORS[factor]
        words += ["--vary", factor, "--loss", next(iter(plan["losses"].values()))]
        for name, change in plan["changes"].items():
            level = spell(change[setting])
            words += [f"--{setting}", level if name == level else f"{name} = {level}"]
        chosen[setting] = None
    if document["kind"] == "lr-range":
        own = {name: asked[name] for name in ("lr_min", "lr_max", "steps", "repeats")}
        chosen = {name: value for name, value in chosen.items() if name not in ("lr", "schedule", "epochs")}
    else:
        own = {"seeds": len(plan["seeds"]), "folds": asked.get("folds"), "margin": plan["margin"]}
        own |= {"budget": asked.get("budget"), "race": bool(plan.get("race"))}
    settings = {**own, **chosen, **asked["data"]}
    for name, value in settings.items():
        if name != "location":
            words += _option(name, value)
    return shlex.join(words)


def spell_stage(stage: Mapping[str, Any]) -> str:
    """Return a stage as it is typed."""
    height, width = stage["resolution"]
    side = str(height) if height == width else f"{height}x{width}"
    return f"{side}:{stage['batch_size']}x{stage['epochs']}"


def _option(name: str, value: Any) -> list[str]:
    """Return an option as it is typed; nothing for what is not set."""
    option = f"--{name.replace('_', '-')}"
    match name, value:
        case _, None | [] | {}:
            return []
        case "resolution", [height, width]:
            return [option, f"{height}x{width}"]
        case "skip_broken" | "single_instance" | "decay_all" | "compile" | "deterministic" | "race", False:
            return []
        case _, bool():
            return [option if value else option.replace("--", "--no-", 1)]
        case _, dict():
            return [option, ",".join(f"{key}={part}" for key, part in value.items())]
        case _, list():
            return [option, ",".join(part if isinstance(part, str) else spell(part) for part in value)]
        case _, float():
            return [option, spell(value)]
    return [option, str(value)]
