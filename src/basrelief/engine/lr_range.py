"""The learning-rate range test: a short training whose rate grows with every step, to see where it learns and breaks.

L. N. Smith, "Cyclical learning rates for training neural networks", WACV 2017, section 3.3, with rates that grow
geometrically, so that every decade gets as many steps.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from basrelief.augment import parse_augment
from basrelief.batch import Batch
from basrelief.data.loader import Loader
from basrelief.data.splits import Split
from basrelief.data.store import Store
from basrelief.engine.evaluate import forward, in_label_values
from basrelief.engine.lr_curve import FEWEST, LrCurve, Suggestion, agree
from basrelief.engine.machine import prepare_model
from basrelief.engine.memory import explain_out_of_memory, is_out_of_memory
from basrelief.engine.optimize import build_optimizer, clip_gradients, freeze, gradient_norm
from basrelief.engine.run_plan import RunPlan, build_model
from basrelief.engine.weights import start_from
from basrelief.errors import UsageError
from basrelief.losses.expression import parse_loss
from basrelief.losses.loss import Loss, LossValue
from basrelief.seeding import stream_seed

Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class LrTest:
    """One test: its settings, its curve, and what the curve says.

    Attributes
    ----------
    seed
        Of initial weights, batch order, augmentation and dropout.
    low, high, steps
        Rates of the first and the last step, and how many there would have been.
    curve
        The steps that were made; fewer than ``steps`` where the loss diverged.
    found
        The suggestion, or why there is none.
    """

    seed: int
    low: float
    high: float
    steps: int
    curve: LrCurve
    found: Suggestion

    def document(self) -> dict[str, Any]:
        """Return the test as JSON, without its curve."""
        return {
            "seed": self.seed,
            "low": self.low,
            "high": self.high,
            "steps": self.steps,
            "lowest_at": self.found.lowest_at,
            "diverged_at": self.found.diverged_at,
            "suggestion": self.found.rate,
            "reason": self.found.reason,
        }


@dataclass(frozen=True)
class LrRange:
    """The tests of one loss, and the rate that they suggest together.

    Attributes
    ----------
    loss
        The expression.
    suggestion
        The median of the tests' suggestions, along a logarithmic scale; None where no test gave any.
    reason
        Why, a sentence or two.
    tests
        In the order they were made.
    steps, seconds
        What they cost.
    """

    loss: str
    suggestion: float | None
    reason: str
    tests: tuple[LrTest, ...]
    steps: int
    seconds: float

    def document(self) -> dict[str, Any]:
        """Return everything but the curves and the cost as JSON."""
        return {
            "loss": self.loss,
            "suggestion": self.suggestion,
            "reason": self.reason,
            "tests": [test.document() for test in self.tests],
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the curves, a line a step: repeat (from 1), step (from 1), lr, loss, smoothed, smoothed_lr."""
        for number, test in enumerate(self.tests, 1):
            curve = test.curve
            columns = (curve.rates, curve.losses, curve.smoothed, curve.smoothed_rates)
            for step, (rate, loss, smoothed, beside) in enumerate(zip(*columns, strict=True), 1):
                row = {"repeat": number, "step": step, "lr": rate, "loss": loss if math.isfinite(loss) else None}
                yield row | {"smoothed": smoothed, "smoothed_lr": beside}


def lr_range(
    plan: RunPlan,
    store: Store,
    split: Split,
    *,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    repeats: int = 1,
    progress: Progress | None = None,
) -> LrRange:
    """Try rates from ``low`` to ``high`` on the training samples, and suggest one to train with.

    The first test makes the very first steps of the run: its initial weights, batch order, augmentation, precision and
    machine, with rates of its own. Further ones do so with seeds drawn from the run's. The run itself is not touched:
    networks are built anew, and torch's own generator is left as it was. The same plan on the same machine gives the
    same numbers.

    A test ends early where its loss diverges, which is what it is for and no failure. Where a wrapper changes the
    weights of a loss, the curve shows the terms at the weights of the first step.

    Parameters
    ----------
    plan, store, split
        As for ``train_run``; the rate, the schedule and the number of epochs in the plan do not matter, and of several
        stages the last one's resolution and batch size count.
    low, high
        Rates of the first and the last step; between them they grow by the same factor each step.
    steps
        Steps of a test, at least ``FEWEST``.
    repeats
        How many tests; the suggestion is the median of theirs.
    progress
        Told after each step how many of ``steps * repeats`` are behind, and the loss.

    Raises
    ------
    UsageError
        When the range or the number of steps makes no test.
    OutOfMemoryError
        When memory runs out, saying what would fit.
    """
    check_range(low, high, steps, repeats)
    started = time.perf_counter()
    devices = [] if plan.machine.device in ("cpu", "mps") else [torch.device(plan.machine.device)]
    tests = []
    for repeat in range(repeats):
        seed = plan.seed if repeat == 0 else stream_seed(plan.seed, "lr-range", repeat) % 2**32

        def behind(step: int, loss: float, before: int = repeat * steps) -> None:
            if progress is not None:
                progress(before + step, loss)

        own = dataclasses.replace(plan, seed=seed)
        try:
            with torch.random.fork_rng(devices=devices):
                curve = _one_test(own, store, split, np.geomspace(low, high, steps), behind)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise explain_out_of_memory(error, plan, store) from None
        tests.append(LrTest(seed, low, high, steps, curve, curve.suggest(plan.settings.optimizer)))
    suggestion, reason = agree([test.found for test in tests])
    done = sum(len(test.curve.losses) for test in tests)
    return LrRange(plan.loss, suggestion, reason, tuple(tests), done, time.perf_counter() - started)


def check_range(low: float, high: float, steps: int, repeats: int) -> None:
    """Raise UsageError where these make no test."""
    if not 0 < low < high < math.inf:
        raise UsageError(f"--lr-min {low:g} and --lr-max {high:g}: expected two rates above 0, the smaller one first.")
    if steps < FEWEST:
        raise UsageError(f"--steps {steps}: a curve of fewer than {FEWEST} steps cannot be read. Give more.")
    if repeats < 1:
        raise UsageError(f"--repeats {repeats}: expected 1 or more.")


def _one_test(plan: RunPlan, store: Store, split: Split, rates: np.ndarray, behind: Progress) -> LrCurve:
    """Train with these rates, one a step, until the loss diverges."""
    settings, machine = plan.settings, plan.machine
    torch.set_num_threads(machine.threads)
    accelerator = machine.accelerator()
    loss = parse_loss(plan.loss).to(accelerator.device)
    model = build_model(plan, store)
    if settings.weights != "none":
        start_from(model, settings.weights)
    prepare_model(model.to(accelerator.device), machine)
    freeze(model, settings.freeze)
    optimizer = build_optimizer(model, loss, settings.model_copy(update={"lr": float(rates[0])}))
    model, optimizer = accelerator.prepare(model, optimizer)
    loader = Loader(
        store,
        split.rows["train"],
        settings.batch_size,
        accelerator.device,
        targets=loss.targets,
        background=plan.background,
    )
    curve = LrCurve(len(rates))
    weights: dict[str, Tensor] = {}
    for rate, batch in zip(rates.tolist(), _batches(plan, loader, loss, model), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        number = 0.0
        for part in batch.parts(settings.accumulate):
            with accelerator.autocast():
                outputs = forward(model, part)
            outputs, part = in_label_values(outputs, part, accelerator.unwrap_model(model).mask_values)
            value = loss(outputs, part, activations=settings.activation)
            weights = weights or value.weights
            share = part.size / batch.size
            number += share * _at_weights(value, weights)
            accelerator.backward(value.total * share)
        curve.add(rate, number)
        behind(len(curve.losses), number)
        if curve.diverged:
            break
        if settings.clip is not None:
            accelerator.unscale_gradients(optimizer)
            clip_gradients(model, gradient_norm(model), settings.clip)
        optimizer.step()
    return curve


def _at_weights(value: LossValue, weights: dict[str, Tensor]) -> float:
    """Return the sum of the terms at these weights, those of the first step; not finite where the total is not.

    For fixed weights it is the total. A sum whose weights are learned falls as they do, whatever the network does.
    """
    known = sum(float(weights[name]) * float(term) for name, term in value.terms.items())
    return known if math.isfinite(value.total.detach()) else math.nan


def _batches(plan: RunPlan, loader: Loader, loss: Loss, model: nn.Module) -> Iterator[Batch]:
    """Yield augmented training batches without end, in the order of the run's epochs, each announced as they are."""
    augment = parse_augment(plan.settings.augment)
    for epoch in range(2**31):
        model.train()
        freeze(model, plan.settings.freeze)
        for number, (_, batch) in enumerate(loader.epoch(plan.seed, epoch)):
            torch.manual_seed(stream_seed(plan.seed, "dropout", epoch, number))
            drawn = torch.Generator().manual_seed(stream_seed(plan.seed, "augment", epoch, number))
            yield augment(batch, drawn, depth_kind=loader.facts.depth_kind)
        loss.end_epoch()
