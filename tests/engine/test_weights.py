from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from basrelief.engine.checkpoint import save_checkpoint
from basrelief.engine.weights import start_from
from basrelief.errors import DataError, UsageError
from basrelief.models import create_model


def saved(path: Path, **heads: object) -> torch.nn.Module:
    torch.manual_seed(1)
    model = create_model("resunet", **heads)  # type: ignore[arg-type]
    save_checkpoint(path, model, {})
    return model


def fresh(**heads: object) -> torch.nn.Module:
    torch.manual_seed(2)
    return create_model("resunet", **heads)  # type: ignore[arg-type]


def equal(a: torch.nn.Module, b: torch.nn.Module, name: str) -> bool:
    return torch.equal(a.state_dict()[name], b.state_dict()[name])


def test_a_run_of_the_same_network_gives_every_weight_and_says_nothing(tmp_path: Path) -> None:
    theirs, ours = saved(tmp_path / "best.safetensors"), fresh()
    assert start_from(ours, str(tmp_path)) == ""
    assert all(equal(ours, theirs, name) for name in ours.state_dict())


def test_a_run_with_other_heads_gives_all_but_its_heads(tmp_path: Path) -> None:
    theirs, ours = saved(tmp_path / "best.safetensors", mask_classes=3), fresh(mask_classes=1, depth=True)
    said = start_from(ours, str(tmp_path / "best.safetensors"))
    assert said.startswith("Weights: ")
    assert "decoders.depth" in said
    assert equal(ours, theirs, "stem.weight")
    assert equal(ours, theirs, "decoders.mask.ups.0.weight")
    assert equal(ours, fresh(mask_classes=1, depth=True), "decoders.depth.ups.0.weight")


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_files_of_other_programs_are_read_by_name_and_shape(tmp_path: Path, prefix: str) -> None:
    theirs, ours = create_model("resunet"), fresh()
    tensors = {f"{prefix}{name}": value for name, value in theirs.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": tensors}, tmp_path / "theirs.pth")
    assert start_from(ours, str(tmp_path / "theirs.pth")) == ""
    assert equal(ours, theirs, "stem.weight")
    save_file(tensors, tmp_path / "theirs.safetensors")
    ours = fresh()
    assert start_from(ours, str(tmp_path / "theirs.safetensors")) == ""
    assert equal(ours, theirs, "stem.weight")


def test_a_file_of_an_encoder_alone_gives_the_encoder(tmp_path: Path) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    theirs, ours = (create_model("smp/unet:resnet18", depth=depth) for depth in (False, True))
    torch.save(theirs.encoder.state_dict() | {"fc.weight": torch.rand(10, 512)}, tmp_path / "resnet18.pth")
    said = start_from(ours, str(tmp_path / "resnet18.pth"))
    assert "fresh: decoders." in said
    assert equal(ours, theirs, "encoder.layer1.0.conv1.weight")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "best.safetensors")
    with pytest.raises(DataError, match=r"does not fit this network: 0 of its .* not there"):
        start_from(create_model("masknet"), str(tmp_path))


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("/tmp/should-never-be-there"),))  # type: ignore[return-value]


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": Evil()}, path)
    with pytest.raises(DataError, match="not safe"):
        start_from(fresh(), str(path))
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match=r"evil\.pth"):
        start_from(fresh(), str(path))
    assert not Path("/tmp/should-never-be-there").exists()


@pytest.mark.parametrize("content", [b"", b"not tensors at all", b"PK\x03\x04"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_none_is_named(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"odd{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match="odd"):
        start_from(fresh(), str(path))


def test_a_file_without_named_tensors_and_a_missing_one_are_named(tmp_path: Path) -> None:
    torch.save([torch.rand(3)], tmp_path / "list.pth")
    with pytest.raises(DataError, match="no tensors by name"):
        start_from(fresh(), str(tmp_path / "list.pth"))
    with pytest.raises(UsageError, match="no such run or file"):
        start_from(fresh(), str(tmp_path / "gone.pth"))


def test_a_study_is_told_to_give_one_of_its_trainings(tmp_path: Path) -> None:
    trial = tmp_path / "trials" / "00-bce" / "seed-0"
    trial.mkdir(parents=True)
    saved(trial / "best.safetensors")
    with pytest.raises(UsageError, match=r"is a study; give one of its trainings, such as .*seed-0"):
        start_from(fresh(), str(tmp_path))
    assert start_from(fresh(), str(trial)) == ""
