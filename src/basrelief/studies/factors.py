"""The one factor that a study varies: the loss, or in its place the network, the augmentation or the learning rate."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from basrelief.augment import parse_augment
from basrelief.config import StudySettings, TrainSettings, checked
from basrelief.errors import UsageError
from basrelief.losses.expression import parse_loss
from basrelief.option_texts import SEARCH

# Factor -> the setting that its levels are values of. The loss is no setting of a training's own.
FACTORS = {"loss": "losses", "network": "network", "augmentation": "augment", "lr": "lr"}
WORDS = {"loss": "loss", "network": "network", "augmentation": "augmentation", "lr": "learning rate"}
PLURALS = {"loss": "losses", "network": "networks", "augmentation": "augmentations", "lr": "learning rates"}


def one_factor(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a study's options with the levels of its factor apart, as ``levels``; other settings have one value.

    Options that are a factor may come with several values: ``{"vary": "network", "network": ("masknet", "relief")}``.

    Raises
    ------
    UsageError
        When another option than the factor's has several values, so that a difference would have two causes.
    """
    sorted_out = dict(options)
    wanted = _as_list(options.get("vary"))
    if len(wanted) > 1:
        raise UsageError(
            f"--vary {' --vary '.join(wanted)}: a study varies one factor, so that a difference has one cause. Compare "
            f"{PLURALS.get(wanted[0], wanted[0])} first, then {PLURALS.get(wanted[1], wanted[1])} with what won."
        )
    vary = wanted[0] if wanted else "loss"
    if vary not in FACTORS:
        raise UsageError(f"--vary {vary!r}: expected 'loss', 'network', 'augmentation' or 'lr'.")
    sorted_out["vary"] = vary if wanted else None
    several = []
    for factor, setting in FACTORS.items():
        values = _as_list(options.get(setting))
        if len(values) > 1:
            several.append(factor)
        if factor == "loss":
            continue
        if factor == vary:
            sorted_out["levels"] = tuple(str(value) for value in values)
            sorted_out[setting] = None
        else:
            sorted_out[setting] = values[0] if len(values) == 1 else (values or None)
    others = [factor for factor in several if factor != vary]
    if others and vary == "loss" and "loss" not in several:
        raise UsageError(
            f"--{FACTORS[others[0]]} is given {len(_as_list(options[FACTORS[others[0]]]))} times. To compare "
            f"{PLURALS[others[0]]}, say so: --vary {others[0]}, with one loss."
        )
    if others:
        raise UsageError(
            f"This study would vary two factors, the {WORDS[vary]} and the {WORDS[others[0]]}, and a difference would "
            f"have two causes. Compare {PLURALS[vary]} with one {WORDS[others[0]]} first, then {PLURALS[others[0]]} "
            "with what won."
        )
    return sorted_out


def name_levels(settings: StudySettings) -> dict[str, dict[str, Any]]:
    """Return name -> the settings that differ, for the levels of a factor other than the loss.

    Raises
    ------
    UsageError
        When there are none, one comes twice, or one cannot be read.
    """
    setting = FACTORS[settings.vary]
    if not settings.levels:
        example = {"network": "--network relief --network masknet", "lr": "--lr 1e-3 --lr 1e-2"}
        raise UsageError(
            f"--vary {settings.vary} compares {PLURALS[settings.vary]}: give several, such as "
            f"{example.get(settings.vary, '--augment none --augment flip')}."
        )
    levels: dict[str, dict[str, Any]] = {}
    for text in settings.levels:
        name, value = split_name(text)
        canonical = _canonical(setting, value)
        if canonical == SEARCH and settings.vary == "lr":
            raise UsageError("--vary lr compares numbers, and search is none: give rates such as --lr 1e-3 --lr 1e-2.")
        name = name or spell(canonical)
        if name in levels:
            raise UsageError(
                f"The {WORDS[settings.vary]} {name!r} is given twice. To compare it with itself, name it: "
                f"--{setting} 'again = …'."
            )
        levels[name] = {setting: canonical}
    return levels


def name_losses(texts: Sequence[str]) -> dict[str, str]:
    """Return name -> canonical expression for texts such as ``"name = expression"``; the expression names itself.

    Raises
    ------
    UsageError
        When a name comes twice, or an expression cannot be read.
    """
    losses: dict[str, str] = {}
    for text in texts:
        name, expression = split_name(text)
        canonical = str(parse_loss(expression))
        name = name or canonical
        if name in losses:
            raise UsageError(
                f"The loss {name!r} is given twice. To compare it with itself, name it: --loss 'again = …'."
            )
        losses[name] = canonical
    return losses


def with_names(settings: StudySettings) -> StudySettings:
    """Return settings whose losses and levels are written one way, so that equal requests are equal settings."""

    def written(name: str, text: str) -> str:
        return text if name == text else f"{name} = {text}"

    losses = tuple(written(name, text) for name, text in name_losses(settings.losses).items())
    levels = settings.levels
    if settings.vary != "loss":
        setting = FACTORS[settings.vary]
        values = {name: change[setting] for name, change in name_levels(settings).items()}
        shown = {name: spell(value) for name, value in values.items()}
        levels = tuple(written(name, text) for name, text in shown.items())
    return settings.model_copy(update={"losses": losses, "levels": levels})


def spell(value: Any) -> str:
    """Return a value as it is typed; a number in full, so that it is read back as the very same."""
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def split_name(text: str) -> tuple[str | None, str]:
    """Split ``"name = expression"``; an = inside parentheses belongs to an option."""
    match = re.match(r"\s*([\w .+-]*\w)\s*=(?!=)(.*)", text, re.DOTALL)
    return (match[1], match[2].strip()) if match else (None, text.strip())


def _canonical(setting: str, value: str) -> Any:
    if setting == "augment":
        return str(parse_augment(value))
    return getattr(checked(TrainSettings, {setting: value}), setting)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
