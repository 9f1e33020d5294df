"""How much memory a training takes, how much is there, and what to say when it was not enough."""

from __future__ import annotations

import dataclasses
import json
import math
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from basrelief.data.store import Store
from basrelief.engine.bare_step import AUTOCAST
from basrelief.engine.container import memory_left
from basrelief.engine.run_plan import RunPlan, build_model
from basrelief.errors import OutOfMemoryError
from basrelief.losses.expression import parse_loss

try:
    import resource
except ImportError:  # pragma: no cover - Windows has no such limits
    resource = None  # type: ignore[assignment]

MIB = 2**20
MARGIN = 0.9  # of the free memory that advice hands out
SLACK = 1.5  # on what is counted, measured: gradients on their way down, work space of kernels, memory in pieces
PLENTY = 64 * 1024  # bytes a pixel that no network of ours comes near; resunet keeps 8.6 thousand
STATES = {"sgd": 1}  # tensors an optimizer keeps for each weight; 2 where not named, as Adam's
WORDS = (
    "out of memory",  # CUDA, MPS
    "can't allocate memory",  # torch's CPU allocator
    "not enough memory",  # the same on Windows
    "ALLOC_FAILED",  # cuDNN, cuBLAS
    "bad_alloc",
    "could not create a memory",  # oneDNN
)

_found: dict[str, Needs | None] = {}


@dataclass(frozen=True)
class Needs:
    """Bytes a training takes: ``fixed`` for the weights and what belongs to them, and ``sample`` for each sample."""

    fixed: int
    sample: int

    def of(self, batch_size: int) -> int:
        """Return the bytes of a step of ``batch_size`` samples."""
        return self.fixed + batch_size * self.sample

    def largest(self, available: int) -> int:
        """Return the largest batch that ``available`` bytes hold, 0 where not even one sample fits."""
        return max(0, (available - self.fixed) // self.sample)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on a GPU or on a CPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in WORDS)


def count_needs(plan: RunPlan, store: Store) -> Needs | None:
    """Count the memory of a training, from what its backward pass keeps; None for a network that cannot be counted.

    The network runs on tensors that have shapes but no memory, so this costs neither memory nor much time, at any
    resolution. What two samples need more than one is the need of a sample.
    """
    model = build_model(plan, store).train()
    loss = parse_loss(plan.loss)
    height, width = store.facts.resolution
    heads = {"mask": max(1, len(store.facts.classes)), "depth": 1}
    dtype = AUTOCAST.get(plan.machine.precision)

    def network(samples: int) -> int:
        with FakeTensorMode(allow_non_fake_inputs=True):
            image = torch.zeros(samples, 3, height, width)
            if plan.machine.channels_last:
                image = image.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
                return _kept(lambda: model(image, image) if plan.background else model(image))

    def judged(samples: int) -> int:
        planes = {t: torch.zeros(samples, heads[t], height, width) for t in loss.targets}
        logits = {t: plane.clone().requires_grad_() for t, plane in planes.items()}
        return _kept(lambda: loss(logits, planes, activations=plan.settings.activation))

    try:
        two, four = network(2), network(4)  # from two samples on, as batch norm may need them
        sample = (four - two) // 2 + judged(2) - judged(1)
    except Exception:  # a network that asks its tensors for values; training is not the worse for it
        return None
    planes = 3 * (2 if plan.background else 1) + sum(2 * heads[target] for target in loss.targets)
    sample += 4 * planes * height * width
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    half = weights // 2 if dtype else 0  # autocast's copies
    fixed = weights * (2 + STATES.get(plan.settings.optimizer, 2)) + half
    return Needs(round(SLACK * fixed), max(1, round(SLACK * sample)))


def begin_measuring(device: torch.device) -> None:
    """Let ``step_memory`` measure from here on, where the device can tell."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def step_memory(plan: RunPlan, store: Store) -> dict[str, Any] | None:
    """Return the bytes that a training step takes, as ``run.json`` has them: "bytes", and "kind", how they were found.

    "measured": the most that torch had allocated on the GPU of the first process since ``begin_measuring``, scoring
    included. "counted": an estimate, from the weights, their gradients, the optimizer's state and what the backward
    pass keeps of the images computed at once (``count_needs``); torch has no such figure for a CPU. ``plan`` has the
    resolution and batch size of the stage that is meant. None where it cannot be counted.
    """
    if plan.machine.device.startswith("cuda"):
        return {"bytes": torch.cuda.max_memory_allocated(plan.machine.device), "kind": "measured"}
    needs = _counted(dataclasses.replace(plan, seed=0), store)
    return None if needs is None else {"bytes": needs.of(_at_once(plan)), "kind": "counted"}


def _counted(plan: RunPlan, store: Store) -> Needs | None:
    """Return ``count_needs``, found once in a process for all trainings that need the same."""
    key = json.dumps(plan.document(store), sort_keys=True)
    if key not in _found:
        _found[key] = count_needs(plan, store)
    return _found[key]


def available_bytes(device: str) -> int:
    """Return the bytes this process may still take: of the GPU, or of the machine, its container and ``ulimit``."""
    if device.startswith("cuda"):
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, for reuse
        return int(torch.cuda.mem_get_info(device)[0] + kept)
    found = [psutil.virtual_memory().available]
    if (left := memory_left()) is not None:
        found.append(left)
    if resource is not None:
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            found.append(max(0, limit - psutil.Process().memory_info().vms))
    return int(min(found))


def memory_warning(plan: RunPlan, store: Store) -> str | None:
    """Return a sentence for a training on a CPU that will not fit, which Linux would kill without a word, else None."""
    if plan.machine.device != "cpu":
        return None
    available = available_bytes("cpu")
    height, width = store.facts.resolution
    size = _at_once(plan)
    if size * height * width * PLENTY < available:
        return None
    needs = count_needs(plan, store)
    if needs is None or needs.of(size) <= available:
        return None
    return (
        f"Memory: {size} images at once take about {_size(needs.of(size))}, and "
        f"{_size(available)} are free; the system may end this training without a word. "
        f"{_advice(plan, store, needs, available)}"
    )


def explain_out_of_memory(error: BaseException, plan: RunPlan, store: Store) -> OutOfMemoryError:
    """Return an error that says what would fit, for one that ``is_out_of_memory``.

    Frees what the failed step still holds through its traceback, to see how much memory is there without it; so call
    it where no local variable refers to the step's tensors any more.
    """
    traceback.clear_frames(error.__traceback__)
    if plan.machine.device.startswith("cuda"):
        torch.cuda.empty_cache()
    needs, available = count_needs(plan, store), available_bytes(plan.machine.device)
    said = (
        f"Out of memory on {plan.machine.device}: {plan.settings.network} at {_shown(store.facts.resolution)} in "
        f"batches of {plan.settings.batch_size}."
    )
    if needs is None:
        return OutOfMemoryError(f"{said} Use a smaller --batch-size or --resolution, or --accumulate N.")
    figures = f"A sample takes about {_size(needs.sample)}; {_size(available)} were free for training."
    return OutOfMemoryError(f"{said} {figures} {_advice(plan, store, needs, available)}")


def _at_once(plan: RunPlan) -> int:
    """Return how many samples of a batch one process computes at once."""
    return math.ceil(plan.settings.batch_size / (plan.settings.accumulate * plan.machine.processes))


def _advice(plan: RunPlan, store: Store, needs: Needs, available: int) -> str:
    """Say what would fit, at most three ways."""
    size, resolution = _at_once(plan), store.facts.resolution
    parts = plan.settings.accumulate * plan.machine.processes
    available = round(MARGIN * available)
    fits = min(needs.largest(available), size - 1)  # this batch did not fit, whatever was counted
    ways = []
    in_stages = bool(plan.settings.stages)  # which --resolution lists, with their batches
    if fits >= 1:
        less = f"{_shown(resolution)}:{fits * parts} for this stage in --resolution"
        ways.append(less if in_stages else f"--batch-size {fits * parts}")
        needed = math.ceil(size * plan.settings.accumulate / fits)
        ways.append(f"--accumulate {needed}, which computes the same batch in parts")
    scale = math.sqrt(max(0, available - needs.fixed) / (size * needs.sample))  # a sample's need grows as its area
    sides = [int(min(scale, 0.99) * side) // 8 * 8 for side in resolution]
    if min(sides) >= 16:
        ways.append(f"{_shown(sides)} for this stage" if in_stages else f"--resolution {_shown(sides)}")
    if not ways:
        return "Not even one sample fits: use a smaller --resolution or network, or end other programs."
    return f"What would fit: {'; or '.join(ways)}."


def _kept(run: Callable[[], Any]) -> int:
    """Return the bytes that the backward pass of ``run`` keeps, what is kept twice counted once."""
    held: dict[int, Any] = {}  # the storages themselves, so that none is freed and its place given to another

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        held[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(storage.nbytes() for storage in held.values())


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / MIB:.3g} MiB"


def _shown(resolution: Any) -> str:
    return f"{resolution[0]}x{resolution[1]}"
