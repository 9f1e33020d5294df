from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from basrelief.config import TrainSettings, checked
from basrelief.engine import machine as machine_module
from basrelief.engine.bare_step import as_found
from basrelief.engine.container import cpu_quota, memory_left
from basrelief.engine.machine import (
    Machine,
    available_threads,
    choose_machine,
    prepare_model,
    why_not_compiled,
)
from basrelief.engine.train import _seed_torch
from basrelief.errors import BasreliefError, DeviceError, UsageError
from basrelief.models import create_model


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch claim two cards of the Turing generation: no TF32, no bfloat16."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Turing")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
@pytest.mark.usefixtures("no_gpu")
def test_a_gpu_that_is_not_there_is_an_error_and_never_the_cpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(DeviceError, match=rf"--device {name}: torch sees no CUDA GPU here\. Use --device cpu"):
        choose_machine(name)


@pytest.mark.usefixtures("no_gpu")
def test_gpus_hidden_by_the_environment_are_said_to_be_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(DeviceError, match="CUDA_VISIBLE_DEVICES is ''"):
        choose_machine("cuda")


@pytest.mark.parametrize("name", ["cuda:x", "cuda:", "cuda:-1", "cuda:²", "cuda:1:2", "cpu:0", "gpu", "", "CUDA"])
@pytest.mark.usefixtures("two_gpus")
def test_a_device_that_cannot_be_read_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="use auto, cpu, cuda, cuda:1 or mps"):
        choose_machine(name)


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_number_too_large_says_which_there_are() -> None:
    assert choose_machine("cuda:1").device == "cuda:1"
    with pytest.raises(DeviceError, match="there are 2 GPUs, cuda:0 to cuda:1"):
        choose_machine("cuda:2")


def test_dropout_is_seeded_on_the_gpu_that_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is not torch's current one where --device names another."""
    monkeypatch.setattr(torch.cuda, "default_generators", [torch.Generator(), torch.Generator()])
    with torch.random.fork_rng(devices=[]):
        _seed_torch(5, torch.device("cuda:1"))
    first, second = torch.cuda.default_generators
    assert second.initial_seed() == 5
    assert first.initial_seed() != 5


@pytest.mark.usefixtures("two_gpus")
def test_tf32_on_a_card_without_it_is_an_error() -> None:
    with pytest.raises(DeviceError, match="Turing has no TF32"):
        choose_machine("cuda", "tf32")
    assert choose_machine("cuda").precision == "fp32"  # bfloat16 would be imitated


@pytest.mark.parametrize("precision", ["tf32", "fp16"])
def test_precisions_of_gpus_are_errors_on_a_cpu(precision: str) -> None:
    with pytest.raises(DeviceError, match=f"--precision {precision} needs a CUDA GPU; on cpu use bf16 or fp32"):
        choose_machine("cpu", precision)


@pytest.mark.parametrize(("precision", "rounded"), [("tf32", True), ("fp32", False), ("bf16", False)])
def test_only_tf32_rounds_float32_products(precision: str, rounded: bool) -> None:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    with as_found("cpu"):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not rounded
        Machine("cuda:0", precision, True, 1).set_tf32()
        assert torch.backends.cuda.matmul.allow_tf32 is rounded
        assert torch.backends.cudnn.allow_tf32 is rounded
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_asking_to_compile_without_a_compiler_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    with pytest.raises(DeviceError, match=r"--compile: .*C\+\+ compiler, and 'no-such-compiler -O2' is not here"):
        choose_machine("cpu", compile=True)
    assert not choose_machine("cpu", compile=False).compile
    assert "mps is not compiled for" in str(why_not_compiled("mps"))


def test_threads_are_the_asked_or_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_machine("cpu", threads=3).threads == 3
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(machine_module, "cpu_quota", lambda: None)
    assert available_threads() == 8
    monkeypatch.setattr(machine_module, "cpu_quota", lambda: 2.5)
    assert available_threads() == 2
    monkeypatch.setattr(machine_module, "cpu_quota", lambda: 0.3)
    assert available_threads() == 1


def container(root: Path, line: str, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        (root / "cg" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "cg" / name).write_text(text)
    (root / "membership").write_text(line)
    return root / "cg", root / "membership"


def test_quotas_of_both_versions_of_control_groups_are_read(tmp_path: Path) -> None:
    second = {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n", "cpu.max": "400000 100000"}
    assert cpu_quota(*container(tmp_path / "2", "0::/a/b\n", second)) == 1.5  # a group around ours limits it too
    first = {"cpu,cpuacct/x/cpu.cfs_quota_us": "50000", "cpu,cpuacct/x/cpu.cfs_period_us": "100000"}
    assert cpu_quota(*container(tmp_path / "1", "3:cpu,cpuacct:/x\n2:memory:/y\n", first)) == 0.5
    none = {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}
    assert cpu_quota(*container(tmp_path / "0", "3:cpu:/\n", none)) is None
    assert cpu_quota(tmp_path / "nowhere", tmp_path / "nothing") is None


def test_memory_of_a_container_counts_kept_files_as_free(tmp_path: Path) -> None:
    stat = "anon 5\ninactive_file 100\n"
    second = {"g/memory.max": "1000", "g/memory.current": "700", "g/memory.stat": stat, "memory.max": "max"}
    assert memory_left(*container(tmp_path / "2", "0::/g\n", second)) == 400
    first = {"memory/memory.limit_in_bytes": str(2**63 - 4096), "memory/memory.usage_in_bytes": "7"}
    assert memory_left(*container(tmp_path / "1", "4:memory:/gone\n", first)) is None


@pytest.mark.parametrize("channels_last", [True, False])
def test_a_prepared_network_keeps_its_names_and_computes_in_the_format_it_was_given(channels_last: bool) -> None:
    model = create_model("masknet", mask_classes=1, background=False)
    names = list(model.state_dict())
    prepared = prepare_model(model, Machine("cpu", "fp32", channels_last, 1))
    seen: list[torch.Tensor] = []
    first = next(part for part in prepared.modules() if isinstance(part, nn.Conv2d))
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    prepared(torch.rand(2, 16, 16, 3).permute(0, 3, 1, 2))  # as loaders give images
    assert list(prepared.state_dict()) == names
    assert seen[0].is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    assert first.weight.is_contiguous(memory_format=torch.channels_last) is channels_last or first.weight.shape[1] == 1


def test_a_compiled_network_keeps_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(module))
    model = create_model("masknet", mask_classes=1)
    names = list(model.state_dict())
    assert prepare_model(model, Machine("cpu", "fp32", True, 1, compile=True)) is model
    assert compiled == [model]
    assert list(model.state_dict()) == names


@pytest.mark.slow
def test_a_network_compiled_for_a_cpu_gives_the_same_masks() -> None:
    if problem := why_not_compiled("cpu"):
        pytest.skip(problem)
    model = create_model("masknet", mask_classes=1).eval()
    image = torch.rand(2, 3, 32, 32)
    expected = model(image)["mask"]
    found = prepare_model(model, Machine("cpu", "fp32", True, 1, compile=True))(image)["mask"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_machines_say_what_they_are() -> None:
    assert str(Machine("cpu", "bf16", True, 1)) == "cpu, bf16, channels last, 1 thread"
    assert str(Machine("cuda:0", "tf32", False, 8, compile=True)) == "cuda:0, tf32, contiguous, compiled"


@pytest.mark.parametrize("size", [0, -1, "none", "1.5", 2.5, True, None])
def test_a_batch_size_is_a_number_or_max(size: object) -> None:
    with pytest.raises(BasreliefError, match="--batch-size"):
        checked(TrainSettings, {"batch_size": size})


def test_the_largest_batch_stays_a_word_in_what_was_asked() -> None:
    asked = TrainSettings(batch_size="max")
    assert asked.model_dump(mode="json")["batch_size"] == "max"
    assert TrainSettings(**asked.model_dump(mode="json")) == asked
    assert TrainSettings(batch_size="12").batch_size == 12


def test_determinism_is_set_and_unset_as_asked() -> None:
    before = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    try:
        for asked in (True, False):
            choose_machine("cpu", "fp32", deterministic=asked).set_determinism()
            assert torch.are_deterministic_algorithms_enabled() is asked
            assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == (not asked, asked)
    finally:
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = before
        torch.use_deterministic_algorithms(False)
