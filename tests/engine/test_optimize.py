from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from basrelief.config import TrainSettings
from basrelief.engine.optimize import RunningAverage, build_optimizer, clip_gradients, freeze, gradient_norm
from basrelief.errors import UsageError
from basrelief.losses.expression import parse_loss
from basrelief.models import create_model


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.Conv2d(4, 1, 1, bias=False))


def optimizer(model: nn.Module, loss: str = "bce(mask)", **settings: Any) -> torch.optim.Optimizer:
    return build_optimizer(model, parse_loss(loss), TrainSettings(**{"lr": 1e-3, **settings}))


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_weight_decay_spares_biases_and_normalisations_unless_asked(name: str) -> None:
    model = network()
    decayed, spared = optimizer(model, optimizer=name, weight_decay=0.1).param_groups
    assert {id(p) for p in decayed["params"]} == {id(model[0].weight), id(model[3].weight)}  # type: ignore[index]
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0)
    (everything,) = optimizer(model, optimizer=name, weight_decay=0.1, decay_all=True).param_groups
    assert len(everything["params"]) == len(list(model.parameters()))


def test_weights_that_a_loss_learns_are_trained_and_never_decayed() -> None:
    groups = optimizer(network(), "uncertainty(bce(mask) + dice(mask))", weight_decay=0.1, decay_all=True).param_groups
    assert groups[-1]["weight_decay"] == 0
    assert groups[-1]["params"][0].shape == (2,)


def test_the_average_follows_the_weights_and_the_statistics() -> None:
    model = network()
    average = RunningAverage(model, 0.9)
    before = copy.deepcopy(average.network.state_dict())
    with torch.no_grad():
        for tensor in (*model.parameters(), model[1].running_mean):  # type: ignore[index]
            tensor.add_(1)
        model[1].num_batches_tracked += 3  # type: ignore[index]
    average.update(10**6)
    for name, value in average.network.state_dict().items():
        if value.is_floating_point():
            expected = 0.9 * before[name] + 0.1 * model.state_dict()[name]
            assert torch.allclose(value, expected, atol=1e-6), name
        else:
            assert torch.equal(value, model.state_dict()[name])
    average.update(0)  # decay (1 + 0)/(10 + 0)
    first = average.network.state_dict()["0.weight"]
    assert torch.allclose(first, 0.1 * (before["0.weight"] + 0.1) + 0.9 * (before["0.weight"] + 1), atol=1e-6)
    assert not any(p.requires_grad for p in average.network.parameters())


def test_the_norm_and_its_clipping_are_torchs() -> None:
    model, other = network(), network()
    other.load_state_dict(model.state_dict())
    for each in (model, other):
        torch.manual_seed(1)
        each(torch.rand(2, 3, 8, 8)).square().sum().backward()
    norm = gradient_norm(model)
    assert norm == pytest.approx(float(nn.utils.clip_grad_norm_(other.parameters(), 0.5)), rel=1e-5)
    clip_gradients(model, norm, 0.5)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-7)
    assert gradient_norm(model) == pytest.approx(0.5, rel=1e-3)


def test_frozen_parts_neither_learn_nor_keep_statistics() -> None:
    model = create_model("masknet")
    freeze(model.train(), ("image_stem", "norms"))
    model(torch.rand(2, 3, 16, 16))["mask"].sum().backward()
    assert all(p.grad is None for p in model.image_stem.parameters())  # type: ignore[union-attr]
    assert model.body[0][0].weight.grad is not None  # type: ignore[index,union-attr]
    assert all(m.num_batches_tracked == 0 for m in model.modules() if isinstance(m, nn.BatchNorm2d))


def test_a_part_that_is_not_there_is_named_and_nothing_left_to_train_is_an_error() -> None:
    model = create_model("masknet")
    with pytest.raises(UsageError, match=r"--freeze stem: the network has no part 'stem'.*image_stem"):
        freeze(model, ("stem",))
    freeze(model, [name for name, _ in model.named_children()])
    with pytest.raises(UsageError, match="Nothing is left to train"):
        optimizer(model)
