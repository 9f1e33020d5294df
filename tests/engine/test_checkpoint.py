from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from basrelief.engine.checkpoint import (
    load_checkpoint,
    restore_model,
    restore_optimizer,
    save_checkpoint,
    weights_hash,
)
from basrelief.errors import DataError
from basrelief.models import create_model


def trained(steps: int = 2):  # type: ignore[no-untyped-def]
    model = create_model("masknet")
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
    for _ in range(steps):
        step(model, optimizer)
    return model, optimizer


def step(model, optimizer) -> None:  # type: ignore[no-untyped-def]
    optimizer.zero_grad()
    generator = torch.Generator().manual_seed(5)
    model(torch.rand(2, 3, 16, 16, generator=generator))["mask"].square().mean().backward()
    optimizer.step()


def test_a_restored_network_and_optimizer_go_on_bit_for_bit(tmp_path: Path) -> None:
    model, optimizer = trained()
    save_checkpoint(tmp_path / "last.safetensors", model, {"epoch": 2}, optimizer)
    step(model, optimizer)
    checkpoint = load_checkpoint(tmp_path / "last.safetensors")
    other, other_optimizer = trained(0)
    restore_model(other, checkpoint.model, tmp_path)
    restore_optimizer(other_optimizer, checkpoint.optimizer)
    step(other, other_optimizer)
    assert checkpoint.facts == {"epoch": 2}
    assert weights_hash(other) == weights_hash(model)


def test_the_hash_sees_a_single_bit() -> None:
    model, _ = trained(0)
    before = weights_hash(model)
    with torch.no_grad():
        model.mask_head.bias.add_(1e-7)
    assert weights_hash(model) != before


@pytest.mark.parametrize("keep", [0, 7, 200, -1], ids=["empty", "header cut", "early", "last byte"])
def test_a_checkpoint_cut_short_is_noticed(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, trained(0)[0], {})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"best\.safetensors.*cut short"):
        load_checkpoint(path)


def test_a_pickle_runs_nothing(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return (Path.write_text, (tmp_path / "ran", "x"))

    path = tmp_path / "best.safetensors"
    path.write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(DataError):
        load_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def test_another_networks_weights_are_named_as_such(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "best.safetensors", trained(0)[0], {})
    tensors = load_checkpoint(tmp_path / "best.safetensors").model
    with pytest.raises(DataError, match="does not fit"):
        restore_model(create_model("masknet", background=True), tensors, tmp_path)
