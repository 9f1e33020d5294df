"""More seeds or losses for a study that is there: its plan grows, and nothing is trained twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from basrelief.errors import DataError, UsageError
from basrelief.files import read_json, write_json
from basrelief.losses.expression import parse_loss
from basrelief.studies.checks import check_fits, check_targets
from basrelief.studies.factors import PLURALS, name_losses
from basrelief.studies.plan import TRIALS
from basrelief.studies.stored import Prepared, reopen
from basrelief.studies.stores import PLAN, STORE
from basrelief.studies.trials import outcome_of


def is_study(folder: Path) -> bool:
    """Tell whether a folder is that of a study."""
    if not (folder / PLAN).is_file():
        return False
    try:
        return read_json(folder / PLAN).get("kind") == "study"
    except DataError:
        if (folder / TRIALS).is_dir() or (folder / STORE).is_dir():
            raise
        return False  # somebody else's file of that name


def extend_plan(folder: Path, *, seeds: int = 0, losses: Sequence[str] = ()) -> Prepared:
    """Write the plan of the study in ``folder`` anew, with further seeds and losses, and return it.

    Where the same was asked for before and its trainings are not all done, nothing is added: they are gone on with.

    Raises
    ------
    DataError
        When there is no study.
    UsageError
        When a loss is there already, or is not one that the study's networks can be trained with.
    """
    if not is_study(folder):
        raise DataError(f"{folder} holds no study to extend. Expected the directory that basrelief study left.")
    prepared = reopen(folder)
    plan, document = prepared.plan, read_json(folder / PLAN)
    asked = {"seeds": seeds, "losses": list(losses)}
    before: list[dict[str, Any]] = document.get("extended", [])
    begun = bool(before) and before[-1]["asked"] == asked
    if begun and not all(outcome_of(folder / trial.folder) for trial in plan.trials()):
        return prepared
    if document["plan"].get("race"):
        raise UsageError(
            "A race spends its chances of error on the seeds that were planned, so none can be added, nor a loss. "
            "Start a new study with more of them and another --out."
        )
    if losses and plan.factor != "loss":
        raise UsageError(
            f"{folder} compares {PLURALS[plan.factor]} with one loss, so --add-loss has no place in it. Leave it out."
        )
    named = name_losses(losses)
    facts = prepared.store.facts
    for name, expression in named.items():
        if name in plan.losses:
            raise UsageError(f"The loss {name!r} is in {folder} already. Its seeds grow with --add-seeds.")
        loss = parse_loss(expression)
        check_targets(loss, plan.heads, f"the network of {folder}")
        check_fits(loss, facts.location, facts.classes, plan.train)
    document["extended"] = [
        *before,
        {"asked": asked, "seeds_before": len(plan.seeds), "losses_before": len(plan.losses)},
    ]
    stored = document["plan"]
    stored["losses"] = {**plan.losses, **named}
    stored["changes"] = {
        **{name: dict(change) for name, change in plan.changes.items()},
        **{name: {} for name in named},
    }
    stored["seeds"] = [*plan.seeds, *range(plan.seeds[-1] + 1, plan.seeds[-1] + 1 + seeds)]
    document["asked"]["seeds"] = len(stored["seeds"])
    if named:
        texts = [name if name == text else f"{name} = {text}" for name, text in stored["losses"].items()]
        document["asked"]["losses"] = texts
    write_json(folder / PLAN, document)
    return reopen(folder)
