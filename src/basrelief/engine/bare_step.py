"""Bare training steps on one batch that is there already: what probes and benchmarks measure."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from basrelief.batch import Batch
from basrelief.data.loader import Loader
from basrelief.data.store import Store
from basrelief.engine.evaluate import forward
from basrelief.engine.machine import Machine, prepare_model
from basrelief.engine.optimize import build_optimizer
from basrelief.engine.run_plan import RunPlan, build_model
from basrelief.losses.expression import parse_loss

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class BareSteps:
    """Steps (forward, loss, backward, update) of a plan's network on the first samples of some rows.

    Networks are the plan's own, from its seed, one a memory format; what they learn here is thrown away.

    Parameters
    ----------
    plan, store
        Whose network, loss, optimizer and resolution, and whose samples.
    rows
        Samples to take batches from; where a batch is larger, they repeat.
    """

    def __init__(self, plan: RunPlan, store: Store, rows: np.ndarray) -> None:
        self.plan, self.store, self.rows = plan, store, rows
        self.device = torch.device(plan.machine.device)
        self.loss = parse_loss(plan.loss).to(self.device)
        self.loader = Loader(
            store,
            rows,
            max(1, plan.settings.batch_size),
            self.device,
            targets=self.loss.targets,
            background=plan.background,
        )
        self._networks: dict[tuple[bool, bool], tuple[nn.Module, torch.optim.Optimizer]] = {}
        self._batches: dict[int, Batch] = {}

    def seconds(self, machine: Machine, samples: int) -> float:
        """Return the seconds of one step of ``samples`` samples, computed as ``machine`` would."""
        model, optimizer = self._network(machine)
        batch = self._batch(samples)
        torch.set_num_threads(machine.threads)
        machine.set_tf32()
        self._wait()
        started = time.perf_counter()
        dtype = AUTOCAST.get(machine.precision)
        with torch.autocast(self.device.type, dtype) if dtype else contextlib.nullcontext():
            outputs = forward(model, batch)
        value = self.loss(outputs, batch, activations=self.plan.settings.activation)
        optimizer.zero_grad(set_to_none=True)
        value.total.backward()
        optimizer.step()
        self._wait()
        return time.perf_counter() - started

    def forget_batches(self) -> None:
        """Give the memory of batches back."""
        self._batches.clear()

    def _network(self, machine: Machine) -> tuple[nn.Module, torch.optim.Optimizer]:
        form = machine.channels_last, machine.compile
        if form not in self._networks:
            model = prepare_model(build_model(self.plan, self.store).to(self.device).train(), machine)
            self._networks[form] = model, build_optimizer(model, self.loss, self.plan.settings)
        return self._networks[form]

    def _batch(self, samples: int) -> Batch:
        if samples not in self._batches:
            self._batches[samples] = self.loader.batch(np.sort(np.resize(self.rows, samples)))
        return self._batches[samples]

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@contextlib.contextmanager
def as_found(device: str) -> Iterator[None]:
    """Put torch's threads, generators and TF32 switches back as they were found."""
    threads, matmul, cudnn = (
        torch.get_num_threads(),
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
    )
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn
            if device.startswith("cuda"):
                torch.cuda.empty_cache()
