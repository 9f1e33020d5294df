from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from basrelief.config import TrainSettings
from basrelief.data.store import Store
from basrelief.engine import fit_batch, memory
from basrelief.engine.fit_batch import largest_batch, largest_that
from basrelief.engine.machine import Machine
from basrelief.engine.memory import (
    Needs,
    available_bytes,
    count_needs,
    explain_out_of_memory,
    is_out_of_memory,
    memory_warning,
)
from basrelief.engine.run_plan import RunPlan
from basrelief.errors import TrainingError

CPU = Machine("cpu", "fp32", True, 1)


def plan(network: str = "masknet", batch_size: int = 16, machine: Machine = CPU) -> RunPlan:
    chosen = TrainSettings(
        lr=1e-3, network=network, resolution=(32, 32), epochs=1, batch_size=batch_size or "max", metric="mask/iou"
    )
    return RunPlan(chosen, "bce(mask)", 0, ("mask",), True, machine)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB)"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_errors_of_memory_are_known(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), ValueError("out of memory"), KeyboardInterrupt()])
def test_other_errors_are_not_taken_for_memory(error: BaseException) -> None:
    assert not is_out_of_memory(error)


def test_counted_bytes_are_those_that_backward_really_keeps(scenes_store: Store) -> None:
    # The reference: the same network on real tensors, whose storages are told apart by their addresses.
    from basrelief.engine.run_plan import build_model

    asked = plan("resunet")
    model = build_model(asked, scenes_store).to(memory_format=torch.channels_last).train()

    def real(samples: int) -> int:
        image = torch.zeros(samples, 3, 32, 32).contiguous(memory_format=torch.channels_last)
        held: dict[int, torch.Tensor] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            held[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            _ = model(image, image)
        return sum(tensor.untyped_storage().nbytes() for tensor in held.values())

    needs = count_needs(asked, scenes_store)
    assert needs is not None
    network = (real(4) - real(2)) / 2
    planes = 4 * 32 * 32 * (3 + 3 + 2)
    assert needs.sample / memory.SLACK == pytest.approx(network + planes, rel=0.02)  # and a little for the loss
    weights = 4 * sum(p.numel() for p in model.parameters())
    assert needs.fixed == pytest.approx(memory.SLACK * 4 * weights, rel=1e-6)  # weights, gradients, Adam's two


def test_bfloat16_keeps_about_half(scenes_store: Store) -> None:
    full = count_needs(plan("resunet"), scenes_store)
    half = count_needs(plan("resunet", machine=dataclasses.replace(CPU, precision="bf16")), scenes_store)
    assert full is not None
    assert half is not None
    assert 0.45 < half.sample / full.sample < 0.65


def test_counting_leaves_the_generator_and_costs_no_memory_for_the_network(scenes_store: Store) -> None:
    before = torch.get_rng_state()
    wide = dataclasses.replace(plan("resunet"), settings=plan("resunet").settings)
    assert count_needs(wide, scenes_store) == count_needs(wide, scenes_store)
    assert torch.equal(before, torch.get_rng_state())


def test_a_network_that_cannot_be_counted_still_gets_a_message(
    scenes_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_kept", lambda run: 1 / 0)
    assert count_needs(plan(), scenes_store) is None
    assert "smaller --batch-size" in str(explain_out_of_memory(MemoryError(), plan(), scenes_store))


def test_the_message_says_what_would_fit(scenes_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "count_needs", lambda plan, store: Needs(100 * 2**20, 10 * 2**20))
    monkeypatch.setattr(memory, "available_bytes", lambda device: int(150 * 2**20 / 0.9) + 1)
    said = str(explain_out_of_memory(MemoryError(), plan(batch_size=16), scenes_store))
    assert "masknet at 32x32 in batches of 16" in said
    assert "10 MiB; 167 MiB were free" in said
    # A tenth is kept back. 5 samples fit, so 16 need four parts. Sides times sqrt(50/160) = 0.56 are 17; of the
    # multiples of 8, 16 is the next below.
    assert "--batch-size 5; or --accumulate 4, which computes the same batch in parts; or --resolution 16x16." in said
    monkeypatch.setattr(memory, "available_bytes", lambda device: 100 * 2**20)
    assert "Not even one sample fits" in str(explain_out_of_memory(MemoryError(), plan(), scenes_store))
    monkeypatch.setattr(memory, "available_bytes", lambda device: 2**50)  # counted as fitting, and yet it did not
    assert "--batch-size 15; or --accumulate 2" in str(explain_out_of_memory(MemoryError(), plan(), scenes_store))


def test_a_training_that_will_not_fit_is_warned_of(scenes_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory_warning(plan(), scenes_store) is None
    monkeypatch.setattr(memory, "available_bytes", lambda device: 2**20)
    assert "the system may end this training without a word" in str(memory_warning(plan(), scenes_store))
    monkeypatch.setattr(memory, "available_bytes", lambda device: 2**30)  # not plenty, but counted as enough
    assert memory_warning(plan(), scenes_store) is None


@settings(max_examples=100, deadline=None)
@given(most=st.integers(1, 5000), border=st.integers(0, 6000))
def test_the_search_ends_close_below_what_fits_and_never_above(most: int, border: int) -> None:
    tried: list[int] = []

    def fits(number: int) -> bool:
        tried.append(number)
        return number <= border

    found = largest_that(fits, most)
    best = min(most, border)
    assert found <= best
    assert best - found <= best // 16
    assert max(tried) <= most
    assert len(tried) <= 20


def test_the_largest_batch_on_a_cpu_is_counted_and_at_most_all_images(
    scenes_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = torch.arange(20).numpy()
    asked = plan(batch_size=0)
    assert largest_batch(asked, scenes_store, rows) == 20
    needs = count_needs(asked, scenes_store)
    assert needs is not None
    monkeypatch.setattr(fit_batch, "available_bytes", lambda device: int(needs.of(8) / 0.9) + 100)
    assert largest_batch(asked, scenes_store, rows) == 8
    monkeypatch.setattr(fit_batch, "available_bytes", lambda device: 0)
    with pytest.raises(TrainingError, match="not even one sample fits"):
        largest_batch(asked, scenes_store, rows)


def test_a_runs_step_is_counted_for_what_one_process_computes_at_once(scenes_store: Store) -> None:
    needs = count_needs(plan(batch_size=16), scenes_store)
    assert needs is not None
    whole = memory.step_memory(plan(batch_size=16), scenes_store)
    assert whole == {"bytes": needs.fixed + 16 * needs.sample, "kind": "counted"}
    parts = plan(batch_size=16)
    parts = dataclasses.replace(parts, settings=parts.settings.model_copy(update={"accumulate": 4}))
    assert memory.step_memory(parts, scenes_store) == {"bytes": needs.fixed + 4 * needs.sample, "kind": "counted"}


def test_a_step_is_counted_once_for_all_seeds_and_not_at_all_where_it_cannot_be(
    scenes_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[RunPlan] = []

    def uncountable(plan: RunPlan, store: Store) -> None:
        asked.append(plan)

    monkeypatch.setattr(memory, "_found", {})
    monkeypatch.setattr(memory, "count_needs", uncountable)
    for seed in range(3):
        assert memory.step_memory(dataclasses.replace(plan(), seed=seed), scenes_store) is None
    assert len(asked) == 1


def test_no_limit_is_no_obstacle() -> None:
    assert available_bytes("cpu") > 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="address space is limited and counted on Linux")
def test_memory_that_really_runs_out_ends_in_advice_that_works(scenes_store: Store) -> None:
    program = """
        import json, resource, sys
        import numpy as np, psutil, torch
        from basrelief.config import TrainSettings
        from basrelief.data.store import open_store
        from basrelief.engine.bare_step import BareSteps
        from basrelief.engine.machine import Machine
        from basrelief.engine.memory import explain_out_of_memory, is_out_of_memory
        from basrelief.engine.run_plan import RunPlan
        from pathlib import Path

        store, rows = open_store(Path(sys.argv[1])), np.arange(24)
        machine = Machine("cpu", "fp32", True, 1)

        def plan(size):
            settings = TrainSettings(
        lr=1e-3,
                network="masknet", resolution=(32, 32), epochs=1, batch_size=size, metric="mask/iou")
            return RunPlan(settings, "bce(mask)", 0, ("mask",), True, machine)

        def step(size):
            BareSteps(plan(size), store, rows).seconds(machine, size)

        step(2)  # what libraries set up once
        room = 400 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + room,) * 2)
        size, said = 1024, []
        while True:
            try:
                step(size)
                break
            except Exception as error:
                assert is_out_of_memory(error), error
                said.append(str(explain_out_of_memory(error, plan(size), store)))
            size = int(said[-1].split("--batch-size ")[1].split(";")[0])
        print(json.dumps({"said": said, "size": size}))
    """
    # Every tensor a mapping of its own: with glibc's heap in pieces, limits of address space are met at random.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(Path(scenes_store.path))],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "Out of memory on cpu: masknet at 32x32 in batches of 1024." in found["said"][0]
    assert len(found["said"]) == 1, found  # the first advice fits
    assert found["size"] >= 32  # and is no mere excuse
