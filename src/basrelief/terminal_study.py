"""What a person sees of a study or a training as it runs, on standard error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from basrelief.studies.plan import Trial
    from basrelief.studies.watcher import Running

_OTHER_LINES = 4  # of a terminal's height: the bar of all trials, and some of what was said before
_err = Console(stderr=True, soft_wrap=True, highlight=False)


class _TimeLeft(TimeRemainingColumn):
    """The time left at the pace of the last half minute, but not where steps are minutes apart."""

    def render(self, task: Task) -> Text:
        """Draw the column of one bar."""
        return Text("") if task.fields.get("slow") else super().render(task)


class StudyProgress:
    """Shows a study as it runs: what was picked, packing, a bar for the trials and one for each training at hand.

    Where standard error is no terminal (a log file, say), it prints a line a trial instead.
    """

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            _TimeLeft(compact=True),
            console=_err,
            transient=True,
            disable=not _err.is_terminal,
        )
        self._packing: Any = None
        self._trials: Any = None
        self._steps: Any = None
        self._failed = 0
        self._lines: dict[str, Any] = {}  # of trainings in other processes, by their trial's folder
        self._metric = self._facts = self._title = ""

    def __enter__(self) -> StudyProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """Print a sentence above the bars."""
        self._progress.console.print(f"· {text}", markup=False)

    def packing(self, done: int, total: int) -> None:
        """Show packing as a bar."""
        if self._packing is None:
            self._packing = self._progress.add_task("Packing", total=total, facts="samples")
        self._progress.update(self._packing, completed=done, total=total)
        if done == total:
            self._progress.remove_task(self._packing)
            self._packing = None

    def trial(self, number: int, total: int, trial: Trial, outcome: str) -> None:
        """Show which trial is on, and how the last one ended."""
        if self._trials is None and total > 1:
            self._trials = self._progress.add_task("Trials", total=total, facts="")
        if outcome == "training":
            self._title = _named(trial)
            return
        self._failed += outcome == "failed"
        if self._trials is not None:
            facts = f"{self._failed} failed" if self._failed else ""
            self._progress.update(self._trials, completed=number, total=total, facts=facts)
        self.say(f"[{number}/{total}] {_named(trial)}: {outcome}")

    def running(self, trials: Sequence[Running], left: float | None) -> None:
        """Show a line for each training in another process, as many as there is room for, and the time left."""
        if self._progress.disable:
            return
        room = max(1, self._progress.console.height - _OTHER_LINES)
        shown = {row.trial.folder: row for row in trials[:room]}
        for folder in [folder for folder in self._lines if folder not in shown]:
            self._progress.remove_task(self._lines.pop(folder))
        for folder, row in shown.items():
            if folder not in self._lines:
                self._lines[folder] = self._progress.add_task(
                    escape(_named(row.trial)[:48]), total=row.epochs, facts="epochs", slow=True
                )
            facts = "epochs"
            if row.score is not None:
                facts += f", val {row.score:.3f}"
            if row.images_per_second is not None:
                facts += f", {row.images_per_second:.0f} images/s"
            self._progress.update(self._lines[folder], completed=row.epoch, total=row.epochs, facts=facts)
        if self._trials is not None:
            said = [f"{self._failed} failed"] if self._failed else []
            said += [f"{len(trials)} at once"] if trials else []
            said += [f"{_duration(left)} left"] if left is not None else []
            self._progress.update(self._trials, facts=", ".join(said), slow=True)

    def begin(self, title: str, metric: str, steps: int, done: int) -> None:
        """Start the bar of one training."""
        self._metric, self._facts = metric, ""
        title, self._title = self._title or title, ""
        if self._steps is not None:
            self._progress.remove_task(self._steps)
        self._steps = self._progress.add_task(escape(title[:48]), total=steps, completed=done, facts="")

    def step(self, done: int, loss: float) -> None:
        """Advance the bar of the training at hand."""
        if self._steps is not None and not self._progress.disable:
            self._progress.update(self._steps, completed=done, facts=f"loss {loss:.4f}{self._facts}")

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Show the shared metric and the speed of the epoch that ended."""
        score = record.get(f"val/{self._metric}")
        shown = "" if score is None else f", {self._metric} {score:.3f}"
        self._facts = f"{shown}, {record['images_per_second']:.0f} images/s"


def _named(trial: Trial) -> str:
    fold = f", fold {trial.fold + 1}" if "-fold-" in trial.folder else ""
    seed = f", seed {trial.seed}" if trial.judged else ""  # those that only try a rate have one for all
    return f"{trial.name}{seed}{fold}"


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
