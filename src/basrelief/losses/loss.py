"""A loss, ready to be called: weighted terms on named planes, and what they come to on a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from basrelief.batch import TARGETS
from basrelief.errors import DataError, UsageError, unknown_name
from basrelief.losses.balance import Weighting
from basrelief.losses.options import takes_valid
from basrelief.losses.spec import LossSpec

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "softmax": lambda logits: torch.softmax(logits, dim=1),
    "identity": lambda logits: logits,
    "softplus": torch.nn.functional.softplus,
}


@dataclass(frozen=True)
class Term:
    """One summand without its weight: a loss, the target it looks at, and its options in the order given."""

    loss: str
    target: str
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        options = "".join(f", {name}={_shown(value)}" for name, value in self.options)
        return f"{self.loss}({self.target}{options})"


@dataclass(frozen=True)
class Group:
    """Terms whose weights one rule sets: as written, or by a wrapper such as ``balance``.

    Attributes
    ----------
    terms
        (weight, term) pairs in the order written; equal terms are merged.
    wrapper
        Name and options of the wrapper; None where the weights stay as written.
    scale
        What the wrapped sum is multiplied by.
    """

    terms: tuple[tuple[float, Term], ...]
    wrapper: str | None = None
    options: tuple[tuple[str, Any], ...] = ()
    scale: float = 1.0

    def __str__(self) -> str:
        text = ""
        for weight, term in self.terms:
            text = _added(text, weight, str(term))
        if self.wrapper is None:
            return text
        options = "".join(f", {name}={_shown(value)}" for name, value in self.options)
        return f"{self.wrapper}({text}{options})"


@dataclass(frozen=True)
class LossValue:
    """What a loss comes to on one batch.

    Attributes
    ----------
    total
        Scalar, connected to the logits.
    terms
        The terms' text -> its unweighted value, detached.
    weights
        The terms' text -> what it was multiplied by in this total, detached.
    """

    total: Tensor
    terms: dict[str, Tensor]
    weights: dict[str, Tensor]


class Loss(nn.Module):
    """A loss expression, ready to be called. Made by ``parse_loss``.

    It is a module because ``balance``, ``uncertainty`` and ``dwa`` keep weights: ``state_dict()`` saves and
    ``load_state_dict()`` restores them, ``parameters()`` are the learned ones of ``uncertainty`` (give them to the
    optimizer, without weight decay), ``end_epoch()`` is what ``dwa`` waits for, and in ``eval()`` nothing is measured.
    A loss of fixed weights keeps nothing.

    Attributes
    ----------
    groups
        The sum as it was written.
    """

    def __init__(self, groups: Sequence[Group], specs: Mapping[str, LossSpec], weightings: Sequence[Weighting]) -> None:
        super().__init__()
        self.groups = tuple(groups)
        self.specs = dict(specs)
        self.weightings = nn.ModuleList(weightings)
        used = {term.loss: self.specs[term.loss].function for group in self.groups for _, term in group.terms}
        self.own = nn.ModuleDict({name: function for name, function in used.items() if isinstance(function, nn.Module)})
        self._distinct = tuple(dict.fromkeys(term for group in self.groups for _, term in group.terms))
        self._calls = {term: _call(self.specs[term.loss], term) for term in self._distinct}

    @property
    def terms(self) -> tuple[tuple[float, Term], ...]:
        """(weight as written, term) of every summand, wrapped or not."""
        return tuple((group.scale * weight, term) for group in self.groups for weight, term in group.terms)

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets it looks at, of "mask" and "depth"."""
        return tuple(target for target in TARGETS if any(term.target == target for term in self._distinct))

    @property
    def pixelwise(self) -> frozenset[str]:
        """The targets that have a term which pushes every pixel, and so learns from empty masks too."""
        return frozenset(term.target for term in self._distinct if self.specs[term.loss].pixelwise)

    def __str__(self) -> str:
        text = ""
        for group in self.groups:
            if group.wrapper is not None:
                text = _added(text, group.scale, str(group))
                continue
            for weight, term in group.terms:
                text = _added(text, weight, str(term))
        return text

    __repr__ = __str__

    def forward(
        self,
        outputs: Mapping[str, Tensor],
        targets: Mapping[str, Tensor],
        *,
        activations: Mapping[str, str] | None = None,
    ) -> LossValue:
        """Compute the loss of a batch.

        Every loss gives first derivatives; second ones are not there.

        Parameters
        ----------
        outputs
            The network's logits: "mask" (N, K, H, W), "depth" (N, 1, H, W). Computed in at least float32.
        targets
            "mask" and "depth" of the same shapes, and optionally "mask_valid" and "depth_valid", bool (N, 1, H, W);
            a ``Batch`` is such a mapping.
        activations
            Head -> one of ``ACTIVATIONS``; sigmoid where not given.

        Raises
        ------
        UsageError
            When a plane that a term needs is missing or has another shape or type.
        DataError
            When a known pixel of a target is not a finite number; names the sample. On a GPU, where looking would
            stall every step, the total is not finite instead.
        """
        planes, poison = self._planes(outputs, targets)
        with self._in_full(planes):
            return self._weighed(planes, poison, activations)

    def _weighed(
        self,
        planes: Mapping[str, tuple[Tensor, Tensor, Tensor | None]],
        poison: Tensor | None,
        activations: Mapping[str, str] | None,
    ) -> LossValue:
        values = self._values(planes, activations)
        total: Tensor | None = poison
        weights: dict[str, Tensor] = {}
        for group, weighting in zip(self.groups, self.weightings, strict=True):
            own = [term for _, term in group.terms]
            stacked = torch.stack([values[term] for term in own])
            learns = self.training and stacked.requires_grad
            measure = functools.partial(self._gradients, planes, activations, own) if learns else None
            part, factors = weighting(stacked, measure)
            total = group.scale * part if total is None else total + group.scale * part
            for term, factor in zip(own, (group.scale * factors).detach().unbind(), strict=True):
                weights[str(term)] = weights[str(term)] + factor if str(term) in weights else factor
        assert total is not None, "the parser admits no empty sum"
        return LossValue(total, {str(term): value.detach() for term, value in values.items()}, weights)

    def gradient_shares(
        self,
        outputs: Mapping[str, Tensor],
        targets: Mapping[str, Tensor],
        weights: Mapping[str, Tensor],
        *,
        activations: Mapping[str, str] | None = None,
    ) -> dict[str, Tensor]:
        """Return each term's share of the gradient at the network's outputs, by the term's text; they add up to 1.

        A term's part is the Euclidean norm of the derivative of weight × term by all logits. Arguments as for a call;
        ``weights`` are those of the ``LossValue``.
        """
        planes, _ = self._planes(outputs, targets)
        with self._in_full(planes):
            norms = self._gradients(planes, activations, self._distinct)
        parts = norms * torch.stack([weights[str(term)].abs() for term in self._distinct])
        shares = parts / parts.sum().clamp_min(torch.finfo(parts.dtype).tiny)
        return {str(term): share for term, share in zip(self._distinct, shares.unbind(), strict=True)}

    def end_epoch(self) -> None:
        """Say that an epoch has ended: ``dwa`` sets its weights from the epochs' means. No other loss needs it."""
        for weighting in self.weightings:
            assert isinstance(weighting, Weighting)
            weighting.end_epoch()

    def _in_full(self, planes: Mapping[str, tuple[Tensor, Tensor, Tensor | None]]) -> torch.autocast:
        """Return a context in which autocast does not cast a loss down."""
        device = next(iter(planes.values()))[0].device.type
        return torch.autocast(device, enabled=False)

    def _planes(
        self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]
    ) -> tuple[dict[str, tuple[Tensor, Tensor, Tensor | None]], Tensor | None]:
        """Return (logits, target, valid) of every head a term looks at; on a GPU also 0, or NaN where a target is."""
        planes: dict[str, tuple[Tensor, Tensor, Tensor | None]] = {}
        poison: Tensor | None = None
        for head in self.targets:
            logits = _at_least_float32(_plane(outputs, head, "the network's outputs"))
            if logits.ndim != 4 or not logits.numel():
                raise UsageError(
                    f"{head}: the network gives {tuple(logits.shape)}; expected (N, channels, height, width), none 0."
                )
            target = _plane(targets, head, "the batch").to(logits.dtype)
            if target.shape != logits.shape:
                raise UsageError(
                    f"{head}: the network gives {tuple(logits.shape)}, the target has {tuple(target.shape)}; both must "
                    "be (N, channels, height, width) alike."
                )
            valid = _checked_valid(head, targets.get(f"{head}_valid"), logits)
            total = (target if valid is None else target.masked_fill(~valid, 0)).sum()
            if total.device.type != "cpu":
                poison = 0 * total if poison is None else poison + 0 * total
            elif not torch.isfinite(total):
                raise _not_a_number(head, target, valid)
            planes[head] = (logits, target, valid)
        return planes, poison

    def _values(
        self,
        planes: Mapping[str, tuple[Tensor, Tensor, Tensor | None]],
        activations: Mapping[str, str] | None,
        terms: Sequence[Term] | None = None,
    ) -> dict[Term, Tensor]:
        for head, name in (activations or {}).items():
            check_activation(head, name)
        preds: dict[str, Tensor] = {}
        values: dict[Term, Tensor] = {}
        for term in self._distinct if terms is None else terms:
            logits, target, valid = planes[term.target]
            if self.specs[term.loss].takes == "logits":
                given = logits
            else:
                if term.target not in preds:
                    preds[term.target] = ACTIVATIONS[(activations or {}).get(term.target, "sigmoid")](logits)
                given = preds[term.target]
            value = self._calls[term](given, target, valid)
            if not isinstance(value, Tensor) or value.ndim:
                given_back = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
                raise UsageError(f"{term} gives {given_back}; a loss is a tensor that holds a single number.")
            values[term] = value
        return values

    def _gradients(
        self,
        planes: Mapping[str, tuple[Tensor, Tensor, Tensor | None]],
        activations: Mapping[str, str] | None,
        terms: Sequence[Term],
    ) -> Tensor:
        """Return the norm of each term's gradient at the logits, apart from the graph of the network."""
        norms = []
        with torch.inference_mode(False), torch.enable_grad():
            for term in terms:
                logits, target, valid = (_usable(plane) for plane in planes[term.target])
                assert logits is not None
                assert target is not None
                leaf = logits.detach().requires_grad_()
                value = self._values({term.target: (leaf, target, valid)}, activations, [term])[term]
                gradient = torch.autograd.grad(value, leaf)[0] if value.requires_grad else torch.zeros_like(leaf)
                norms.append(torch.linalg.vector_norm(gradient))
        return torch.stack(norms)


def check_activation(head: str, name: str) -> None:
    """Raise UsageError unless ``head`` is a target and ``name`` one of ``ACTIVATIONS``."""
    if head not in TARGETS:
        raise unknown_name("head", head, TARGETS)
    if name not in ACTIVATIONS:
        raise unknown_name("activation", name, ACTIVATIONS)


def _call(spec: LossSpec, term: Term) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    """Return the term's function with its options bound: those of ``like``, and over them the ones written."""
    written = dict(term.options)
    like = written.pop("like", None) if spec.like else None
    options = {**(spec.like[like] if like is not None else {}), **written}
    return functools.partial(_with_valid if takes_valid(spec.function) else _without_valid, spec.function, options)


def _with_valid(
    function: Callable[..., Tensor], options: Mapping[str, Any], given: Tensor, target: Tensor, valid: Tensor | None
) -> Tensor:
    return function(given, target, valid=valid, **options)


def _without_valid(
    function: Callable[..., Tensor], options: Mapping[str, Any], given: Tensor, target: Tensor, valid: Tensor | None
) -> Tensor:
    if valid is not None:  # the prediction itself is the one truth that adds no error
        target = torch.where(valid, target, given.detach())
    return function(given, target, **options)


def _checked_valid(head: str, valid: Tensor | None, logits: Tensor) -> Tensor | None:
    if valid is None:
        return None
    count, channels, height, width = logits.shape
    fits = isinstance(valid, Tensor) and valid.dtype == torch.bool
    if not fits or tuple(valid.shape) not in ((count, 1, height, width), (count, channels, height, width)):
        found = f"{tuple(valid.shape)} of {valid.dtype}" if isinstance(valid, Tensor) else type(valid).__name__
        raise UsageError(f"{head}_valid is {found}; it must be a bool tensor {(count, 1, height, width)}.")
    return valid


def _usable(plane: Tensor | None) -> Tensor | None:
    """Return a tensor that autograd takes, though it was made in inference mode."""
    return plane.clone() if plane is not None and plane.is_inference() else plane


def _not_a_number(head: str, target: Tensor, valid: Tensor | None) -> DataError:
    seen = target if valid is None else target.masked_fill(~valid, 0)
    bad = (~seen.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
    if not bad:
        return DataError(f"The target {head!r} is too large to be added up; its values should be of the order of 1.")
    return DataError(
        f"The target {head!r} of sample {bad[0]} of the batch (counting from 0) holds a value that is not a finite "
        f"number. Mark such pixels as unknown in {head}_valid, bool (N, 1, H, W), or mend the data."
    )


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def _plane(planes: Mapping[str, Tensor], name: str, where: str) -> Tensor:
    if not isinstance(planes, Mapping):
        raise UsageError(
            f"The loss needs {where} by name, such as {{{name!r}: tensor}}; it was given a {type(planes).__name__}."
        )
    if name not in planes:
        raise UsageError(f"The loss needs {name!r}, which is not in {where}: {', '.join(planes) or 'nothing'}.")
    return planes[name]


def _added(text: str, weight: float, part: str) -> str:
    factor = "" if abs(weight) == 1 else f"{_number(abs(weight))}*"
    if text:
        return f"{text} {'-' if weight < 0 else '+'} {factor}{part}"
    return f"{'-' if weight < 0 else ''}{factor}{part}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _shown(value: Any) -> str:
    return f"[{', '.join(repr(item) for item in value)}]" if isinstance(value, tuple) else repr(value)
