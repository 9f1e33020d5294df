"""Training trials on a Ray cluster: a task each, results in the study's directory, which all nodes see, or at its URL.

Ray starts tasks, spreads them over the nodes, and starts one again elsewhere when its node dies. What is finished is
told from the trials' directories alone, as everywhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from basrelief.config import ExecutionSettings, WatchSettings
from basrelief.engine import processes
from basrelief.engine.watcher import Silent
from basrelief.errors import (
    BasreliefError,
    DataError,
    DeviceError,
    MissingExtraError,
    OutOfMemoryError,
    TrainingError,
    UsageError,
)
from basrelief.parallel import end_with
from basrelief.studies.plan import Trial
from basrelief.studies.progress import Account
from basrelief.studies.shared import Shared, fetched
from basrelief.studies.stored import Prepared, reopen
from basrelief.studies.stores import PLAN
from basrelief.studies.trials import train_trial

VERSION = metadata.version("basrelief")
LOOK = 1.0  # seconds between looks at how far trials are
RETRIES = 3  # times that a trial is started on another node, when its own dies
SEEN_AFTER = 20.0  # seconds until what one node wrote is seen by others; network file systems keep what they know
PROMPTLY = 5.0  # seconds in which a cluster's head answers
STORE_BYTES = 100 * 2**20  # Ray's memory for objects, of which trials have none, where it is started for us


@dataclass(frozen=True)
class Task:
    """What a node is told of a trial: the study's folder, or its URL and what tells it from others there."""

    folder: Path
    plan: str  # digest of plan.json
    version: str
    trial: Trial
    watch: WatchSettings
    url: str = ""
    identity: str = ""


def train_on_ray(execution: ExecutionSettings, watch: WatchSettings, account: Account) -> None:
    """Train every trial that is left on the cluster: as many at once as it takes, or as ``--jobs`` says.

    Raises
    ------
    MissingExtraError
        When Ray is not installed.
    DeviceError
        When there is no cluster at the address, or the plan names one card of this machine.
    DataError
        When the study's directory cannot be seen from a node.
    OutOfMemoryError
        When memory runs out for a trial that trains alone.
    TrainingError
        When a trial's process ends again and again.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtraError("ray", "ray", "--executor ray") from None
    if ":" in account.prepared.plan.train.device:
        raise DeviceError(
            f"--device {account.prepared.plan.train.device} names a card of this machine. Ray gives each training its "
            "card: use --device cuda."
        )
    if account.shared is not None and account.shared.url.startswith("memory:"):
        raise UsageError(
            "--out memory:// is of this process alone; the nodes of a Ray cluster need a URL they all reach."
        )
    with contextlib.redirect_stdout(_WithoutRay(sys.stdout)), _cluster(ray, execution.address):
        _train_all(ray, execution, watch, account)


def _train_all(ray: Any, execution: ExecutionSettings, watch: WatchSettings, account: Account) -> None:
    options = {"max_retries": RETRIES, "scheduling_strategy": "SPREAD", **_share(ray, execution, account)}
    most = None if execution.jobs == "auto" else execution.jobs
    why = _round(ray, options, most, watch, account)
    if why is not None:
        account.watcher.say(f"{why} Going on with one at once.")
        why = _round(ray, options, 1, watch, account)
    if why is not None:
        raise why


def _round(
    ray: Any, options: dict[str, Any], most: int | None, watch: WatchSettings, account: Account
) -> TrainingError | None:
    """Train what is left, until all is done, or no more because memory gave out; then return that error."""
    remote = ray.remote(_train).options(**options)
    folder, shared = account.folder.absolute(), account.shared
    content = (folder / PLAN).read_bytes() if shared is None else str(shared.plan()).encode("utf-8")
    digest = hashlib.sha256(content).hexdigest()
    place = ("", "") if shared is None else (shared.url, shared.id())
    waiting = deque(account.left())
    running: dict[Any, Trial] = {}
    why: TrainingError | None = None
    try:
        while waiting or running:
            while waiting and why is None and (most is None or len(running) < most):
                trial = waiting.popleft()
                task = Task(folder, digest, VERSION, trial, watch, *place)
                running[remote.remote(task)] = trial
                account.start(trial)
            account.show(account.begun())
            for reference in ray.wait(list(running), num_returns=1, timeout=LOOK)[0]:
                trial = running.pop(reference)
                try:
                    where, error = ray.get(reference)
                except ray.exceptions.RayError as lost:
                    why = _lost(ray, trial, lost)
                    continue
                if isinstance(error, OutOfMemoryError):
                    why = error
                elif error is not None:
                    raise error
                elif not _seen(account, trial):
                    raise DataError(
                        f"{trial.name}, seed {trial.seed} was trained on the node {where}, and its result is not here, "
                        f"in {account.folder.absolute()}: the node has a folder of its own there. {_ELSEWHERE}"
                    )
            if why is not None and not running:
                return why
            if why is not None and most is None:  # those that have not begun wait for a round of their own
                for reference in [r for r, trial in running.items() if trial not in account.begun()]:
                    ray.cancel(reference)
                    del running[reference]
        return why
    except BaseException:
        for reference in running:
            with contextlib.suppress(Exception):
                ray.cancel(reference, force=True)
        raise
    finally:
        account.show(())


_ELSEWHERE = (
    "All nodes must see the same directory under the same path: give --out on a shared file system, or a URL such as "
    "--out s3://bucket/study, through which the nodes exchange files."
)


def _lost(ray: Any, trial: Trial, error: Exception) -> TrainingError:
    """Return what to say of a trial whose task Ray gave up."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, ImportError):
        raise DataError(
            f"A node of the Ray cluster cannot import what a training needs ({cause}). Install basrelief {VERSION} "
            "on every node, in the Python that Ray runs in."
        ) from None
    if isinstance(error, ray.exceptions.LocalRayletDiedError):
        raise TrainingError(
            "The Ray cluster is gone. The same command goes on from whatever was finished, on any cluster."
        ) from None
    if isinstance(error, ray.exceptions.RayTaskError):  # a fault of ours, with its traceback
        raise error
    named = f"{trial.name}, seed {trial.seed}"
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return OutOfMemoryError(
            f"Ray ended the training of {named}, since its node had no memory left. Use fewer --jobs."
        )
    return TrainingError(f"The process that trained {named} ended {RETRIES + 1} times ({type(error).__name__}).")


def _seen(account: Account, trial: Trial) -> bool:
    """Tell whether a trial is over, as its directory says; a network file system may need a moment to know."""
    until = time.monotonic() + SEEN_AFTER
    while not account.end(trial):
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def _share(ray: Any, execution: ExecutionSettings, account: Account) -> dict[str, float]:
    """Return what a trial takes of a node: the plan's threads, and on GPUs its part of a card."""
    plan = account.prepared.plan
    if plan.machine.device.startswith("cuda"):
        cards = max(1, processes.gpus(plan.train.device))
        together = max(1, plan.jobs // cards) if execution.jobs == "auto" else 1
        return {"num_cpus": 1, "num_gpus": 1 / together}
    largest = max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
    if 1 <= largest < plan.machine.threads:
        account.watcher.say(
            f"The plan's trainings use {plan.machine.threads} threads, and no node of the Ray cluster has more than "
            f"{largest:.0f} CPUs: they share those."
        )
    return {"num_cpus": min(plan.machine.threads, largest) if largest >= 1 else plan.machine.threads, "num_gpus": 0}


@contextlib.contextmanager
def _cluster(ray: Any, address: str | None) -> Iterator[None]:
    """Join the cluster at an address, or one that runs here, or start one of this machine alone."""
    if ray.is_initialized():  # by whoever called this
        yield
        return
    host, _, port = (address or "").rpartition("://")[2].rpartition(":")
    if host and port.isdigit():  # where nobody listens, Ray would go on asking for minutes
        try:
            socket.create_connection((host.strip("[]"), int(port)), PROMPTLY).close()
        except (OSError, OverflowError):
            raise _no_cluster(str(address)) from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    alone = {"address": "local", "include_dashboard": False, "object_store_memory": STORE_BYTES}
    try:
        ray.init(**alone if address == "local" else {"address": address or "auto"}, **quiet)
    except ConnectionError:
        if address is not None:
            raise _no_cluster(address) from None
        ray.init(**alone, **quiet)
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():  # Ray has taken SIGTERM for itself
                signal.signal(number, handler)
    try:
        yield
    finally:
        ray.shutdown()


def _no_cluster(address: str) -> DeviceError:
    return DeviceError(
        f"--address {address}: no Ray cluster answers there. Start one with ray start --head, or leave --address out."
    )


class _WithoutRay:
    """Standard output, without what Ray's own threads print there: it may be the user's JSON."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, unless it is Ray that does."""
        return len(text) if threading.current_thread().name.startswith("ray_") else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


_opened: dict[tuple[Path, str], Prepared] = {}


def _train(task: Task) -> tuple[str, BasreliefError | None]:
    """Train a trial on a node; return which node, and what went wrong that a user can mend."""
    if threading.current_thread() is threading.main_thread() and sys.platform != "win32":
        end_with(os.getppid())  # else it might write for a study whose node is gone
    try:
        folder = fetched(task.url, task.identity, task.plan) if task.url else task.folder
        prepared = _open(folder, task)
        train_trial(folder, prepared, task.trial, task.watch, Silent())
        if task.url:
            Shared(task.url).sync_trial(folder, task.trial.folder)
            shutil.rmtree(folder / task.trial.folder, ignore_errors=True)
    except BasreliefError as error:
        return socket.gethostname(), error
    return socket.gethostname(), None


def _open(folder: Path, task: Task) -> Prepared:
    """Open the study as this node sees it, once."""
    node = socket.gethostname()
    if task.version != VERSION:
        raise DataError(
            f"The node {node} has basrelief {VERSION}, and the study was started by {task.version}. Install the "
            "same everywhere."
        )
    if (folder, task.plan) in _opened:
        return _opened[folder, task.plan]
    path = folder / PLAN
    until = time.monotonic() + SEEN_AFTER
    while not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != task.plan:
        if not path.exists() and not path.parent.exists():
            raise DataError(f"The node {node} does not see the study's {path}. {_ELSEWHERE}")
        if time.monotonic() > until:
            other = "sees another file at" if path.exists() else "does not see"
            raise DataError(f"The node {node} {other} the study's {path}. {_ELSEWHERE}")
        time.sleep(0.5)
    _opened.clear()
    _opened[folder, task.plan] = reopen(folder)
    return _opened[folder, task.plan]
