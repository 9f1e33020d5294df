"""What changes the weights: the optimizer with its groups, what is frozen, and the running average of the weights."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from basrelief.config import TrainSettings
from basrelief.errors import UsageError
from basrelief.losses.loss import Loss

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm)


def build_optimizer(model: nn.Module, loss: Loss, settings: TrainSettings) -> torch.optim.Optimizer:
    """Return the optimizer of the network's weights, and of the weights that the loss learns itself.

    Weight decay leaves biases and the weights of normalisations alone, unless ``decay_all``: pulling them to 0 only
    changes what the next layer sees. Never does it pull the loss's own weights.
    """
    assert isinstance(settings.lr, float)  # "search" and None are numbers once there is a plan of the run
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    norms = {id(p) for module in model.modules() if _is_norm(module) for p in module.parameters(recurse=False)}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            keep = not settings.decay_all and (id(parameter) in norms or name.rpartition(".")[2] == "bias")
            (spared if keep else decayed).append(parameter)
    if settings.weight_decay == 0:
        decayed, spared = [p for p in model.parameters() if p.requires_grad], []
    groups: list[dict[str, Any]] = [{"params": decayed}]
    groups += [{"params": found, "weight_decay": 0.0} for found in (spared, list(loss.parameters())) if found]
    groups = [group for group in groups if group["params"]]
    check_trainable(model)
    decay, lr = settings.weight_decay, settings.lr
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr, momentum=settings.momentum, weight_decay=decay, fused=True)
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, lr, weight_decay=decay, fused=True)
    return torch.optim.AdamW(groups, lr, weight_decay=decay, fused=True)


def freeze(model: nn.Module, names: Collection[str]) -> None:
    """Keep parts of a network as they are: their weights get no gradient, their statistics are not updated.

    Parameters
    ----------
    model
        The network; to be called again after each ``model.train()``, which sets the statistics going.
    names
        "encoder" (the parts that the network calls so), "norms" (all normalisations by batch statistics), or names of
        the network's own parts, such as "stem".
    """
    for name in names:
        for part in frozen_parts(model, name):
            part.eval()
            for parameter in part.parameters():
                parameter.requires_grad_(False)


def check_trainable(model: nn.Module) -> None:
    """Raise UsageError where every weight of the network is frozen."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError("Nothing is left to train: --freeze names every part of the network. Freeze less of it.")


def frozen_parts(model: nn.Module, name: str) -> list[nn.Module]:
    """Return the modules that a name of ``--freeze`` means.

    Raises
    ------
    UsageError
        When the network has no such part.
    """
    if name == "norms":
        return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._NormBase)]
    children = dict(model.named_children())
    wanted = getattr(model, "encoder_parts", ()) if name == "encoder" else (name,)
    found = [children[part] for part in wanted if part in children]
    if not found:
        what = "has no part that is an encoder alone" if name == "encoder" else f"has no part {name!r}"
        raise UsageError(f"--freeze {name}: the network {what}. Its parts: norms, {', '.join(children)}.")
    return found


class RunningAverage:
    """A running average of a network's weights: average = d*average + (1 - d)*weights.

    d rises from 0.1 to ``decay`` as (1 + step)/(10 + step), so that the first steps do not hang on to the initial
    weights. Statistics of normalisations are averaged alike; counters are copied.

    Attributes
    ----------
    network
        What has the average for its weights: a copy of ``model``, never trained.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        # Found once: to name all tensors of a network takes longer than to average them.
        ours, theirs = self.network.state_dict(), model.state_dict()
        pairs = [(ours[name], theirs[name]) for name in ours]
        self._averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the weights after step ``step`` (from 0)."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        ours, theirs = zip(*self._averaged, strict=True)
        torch._foreach_lerp_(ours, theirs, share)
        for mine, other in self._copied:
            mine.copy_(other)


def gradient_norm(model: nn.Module) -> Tensor:
    """Return the Euclidean norm of all gradients of the network, a scalar on its device."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return norm


@torch.no_grad()
def clip_gradients(model: nn.Module, norm: Tensor, largest: float) -> None:
    """Scale all gradients so that their common norm is at most ``largest`` (R. Pascanu et al., ICML 2013)."""
    factor = (largest / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_([p.grad for p in model.parameters() if p.grad is not None], factor)


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, _NORMS) or type(module).__name__.endswith(("Norm", "Norm2d"))
