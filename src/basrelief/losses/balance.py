"""Who sets the weights of a sum of losses: the user, the first gradients, training itself, or the losses' own trend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from basrelief.errors import UsageError

LARGEST = 1e4  # a weight is changed by at most this factor, and a term that would need more is not measured there


class Weighting(nn.Module, ABC):
    """The rule that turns the values of a group's terms into one number. State is kept in buffers and parameters.

    Called with ``values`` (terms,) and ``measure``, which returns the norms (terms,) of the terms' gradients at the
    network's outputs, or is None where nothing is learned from this call (evaluation); returns the weighted sum and
    the weights (terms,) that went into it.
    """

    @abstractmethod
    def forward(self, values: Tensor, measure: Callable[[], Tensor] | None) -> tuple[Tensor, Tensor]:
        """Return the weighted sum, and the weights."""

    def end_epoch(self) -> None:
        """Take notice that an epoch has ended."""


class Fixed(Weighting):
    """The weights as they were written."""

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        self.written: Tensor
        # Numbers for the sum, which keeps the precision of the values, and a tensor made once for whoever reads them.
        self.numbers = tuple(weights)
        self.register_buffer("written", torch.tensor(weights), persistent=False)

    def forward(self, values: Tensor, measure: Callable[[], Tensor] | None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Return the weighted sum, and the weights."""
        parts = [value * number for value, number in zip(values.unbind(), self.numbers, strict=True)]
        return sum(parts[1:], parts[0]), self.written


class Balance(Weighting):
    """Weights at which all terms pull equally: each has the same share of the gradient at the network's outputs.

    Over the first ``batches`` training batches the norms of the terms' gradients are averaged; the weights are the
    inverse of these means, in proportion to the weights as written (``balance(2*bce(mask) + dice(mask))`` gives bce two
    shares), and the first term keeps its weight, so that the learning rate keeps its meaning. Then they stay.

    A batch does not count for a term that has next to no gradient there, as an overlap has where all masks are empty;
    such a term keeps its written weight and goes on being measured until it has its batches.

    Parameters
    ----------
    every
        Measure again each this many steps; None: never.
    by
        "gradient", or "value": equal values instead of equal gradients, which is what one balances by hand from
        printed losses.
    batches
        How many batches a measurement averages.
    """

    def __init__(
        self,
        weights: Sequence[float],
        *,
        every: int | None = None,
        by: Literal["gradient", "value"] = "gradient",
        batches: int = 8,
    ) -> None:
        super().__init__()
        if batches < 1:
            raise UsageError(f"balance: batches is {batches}; it must be at least 1.")
        if every is not None and every < batches:
            raise UsageError(f"balance: every is {every}; it must be at least batches, {batches}.")
        self.every, self.by, self.batches = every, by, batches
        self.written: Tensor
        self.weights: Tensor
        self.sums: Tensor
        self.counts: Tensor
        self.means: Tensor
        self.register_buffer("written", torch.tensor(weights), persistent=False)
        self.register_buffer("weights", self.written.clone())
        for name in ("sums", "counts", "means"):  # of the measurement going on, and the last ones found (0: none)
            self.register_buffer(name, torch.zeros_like(self.written))
        self.steps = 0
        self.open = True  # whether a term still lacks batches of the first measurement

    def forward(self, values: Tensor, measure: Callable[[], Tensor] | None) -> tuple[Tensor, Tensor]:
        """Return the weighted sum, and the weights; during a measurement, also measure."""
        if measure is not None:
            if self.open and self.steps and self.steps % self.batches == 0:
                # Looked at rarely, for a GPU has to be waited for; and before a step, when several processes have
                # averaged their counts, so that all of them decide alike.
                self.open = bool((self.counts < self.batches).any())
            place = self.steps if self.every is None else self.steps % self.every
            if place < self.batches or self.open:
                self._measure(place, (measure() if self.by == "gradient" else values.detach().abs()).float())
            self.steps += 1
        weights = self.weights.to(values.dtype)
        return values @ weights, weights

    def _measure(self, place: int, sizes: Tensor) -> None:
        again = self.steps >= self.batches and not self.open
        if again and place == 0:
            self.sums, self.counts = torch.zeros_like(self.sums), torch.zeros_like(self.counts)
        sizes = sizes.nan_to_num(nan=0.0, posinf=0.0)
        counted = (sizes > sizes.max() / LARGEST) & (self.counts < self.batches)
        self.sums = self.sums + torch.where(counted, sizes, torch.zeros_like(sizes))
        self.counts = self.counts + counted
        # The first measurement holds from its first batch; a later one takes over when it is complete.
        if not again or place + 1 == self.batches:
            self.means = torch.where(self.counts > 0, self.sums / self.counts.clamp_min(1), self.means)
            known = self.means > 0
            first = self.means.gather(0, known.int().argmax(0, keepdim=True))
            factors = torch.where(known, first / self.means, torch.ones_like(first))
            self.weights = self.written * factors.clamp(1 / LARGEST, LARGEST)

    def get_extra_state(self) -> Tensor:
        """Return the number of steps seen and whether the first measurement goes on, which ``state_dict`` saves."""
        return torch.tensor([self.steps, int(self.open)])

    def set_extra_state(self, state: Tensor) -> None:
        """Restore what ``get_extra_state`` gave."""
        self.steps, self.open = int(state[0]), bool(state[1])


class Uncertainty(Weighting):
    """Learned weights: Σ w·exp(−s)·term + s, with one parameter s a term that starts at 0.

    Kendall, Gal and Cipolla, "Multi-task learning using uncertainty to weigh losses", CVPR 2018, eq. 7, with
    s = log σ² and twice its value. Written weights multiply the terms. The sum may become negative.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        self.written: Tensor
        self.register_buffer("written", torch.tensor(weights), persistent=False)
        self.log_variances = nn.Parameter(torch.zeros(len(weights)))

    def forward(self, values: Tensor, measure: Callable[[], Tensor] | None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Return the weighted sum with its penalty, and the weights."""
        weights = (self.written * torch.exp(-self.log_variances)).to(values.dtype)
        return values @ weights + self.log_variances.sum().to(values.dtype), weights


class Dwa(Weighting):
    """Weights from the losses' own trend: a term that falls more slowly than the others is weighted up.

    Liu, Johns and Davison, "End-to-end multi-task learning with attention" (dynamic weight average), CVPR 2019, eq. 7:
    K·softmax(r / temperature), r being each term's mean over the last epoch divided by that of the epoch before. Equal
    for the first two epochs. Written weights multiply the terms. It learns where epochs end from ``Loss.end_epoch``.

    Parameters
    ----------
    temperature
        The higher, the more equal.
    """

    def __init__(self, weights: Sequence[float], *, temperature: float = 2.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise UsageError(f"dwa: temperature is {temperature:g}; it must be above 0.")
        self.temperature = temperature
        self.written: Tensor
        self.weights: Tensor
        self.sums: Tensor
        self.previous: Tensor
        self.register_buffer("written", torch.tensor(weights), persistent=False)
        self.register_buffer("weights", self.written.clone())
        self.register_buffer("sums", torch.zeros_like(self.written))
        self.register_buffer("previous", torch.full_like(self.written, float("nan")))
        self.steps = 0

    def forward(self, values: Tensor, measure: Callable[[], Tensor] | None) -> tuple[Tensor, Tensor]:
        """Return the weighted sum, and the weights."""
        if measure is not None:
            self.sums = self.sums + values.detach().float()
            self.steps += 1
        weights = self.weights.to(values.dtype)
        return values @ weights, weights

    def end_epoch(self) -> None:
        """Set the weights for the next epoch."""
        if self.steps == 0:
            return
        means = self.sums / self.steps
        trend = torch.where(self.previous > 0, means / self.previous, torch.ones_like(means))
        if not self.previous.isnan().any():
            self.weights = self.written * len(means) * torch.softmax(trend / self.temperature, dim=0)
        self.previous, self.sums, self.steps = means, torch.zeros_like(means), 0

    def get_extra_state(self) -> Tensor:
        """Return the number of steps of this epoch, which ``state_dict`` saves."""
        return torch.tensor(self.steps)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore what ``get_extra_state`` gave."""
        self.steps = int(state)


class WrapperSpec(NamedTuple):
    """A line of the table of wrappers: called with the written weights and the options of the expression."""

    weighting: Callable[..., Any]
    formula: str
    summary: str
    source: str


WRAPPERS: dict[str, WrapperSpec] = {
    "balance": WrapperSpec(
        Balance,
        "sum(w_i * term_i), w_i = |g_1| / |g_i|, g the gradient at the outputs",
        "weights at which every term has an equal share of the gradient, measured over the first batches",
        "gradient norms as in Chen et al., GradNorm, ICML 2018, measured once",
    ),
    "uncertainty": WrapperSpec(
        Uncertainty,
        "sum(exp(-s_i) * term_i + s_i), s learned",
        "weights learned with the network",
        "Kendall, Gal, Cipolla, Multi-task learning using uncertainty, CVPR 2018",
    ),
    "dwa": WrapperSpec(
        Dwa,
        "sum(w_i * term_i), w = K * softmax(r / temperature), r = last epoch's mean / the one before",
        "weights from the losses' own trend: what falls slowly counts more",
        "Liu, Johns, Davison, End-to-end multi-task learning with attention, CVPR 2019",
    ),
}
