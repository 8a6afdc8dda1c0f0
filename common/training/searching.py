"""A search for settings: trials in a folder that any number of workers share, without a server.

Optuna (Akiba et al. 2019) suggests the settings, from a journal in the folder. Each trial is an
ordinary run, trained by the project's own train.py in a process of its own. Whoever trains it holds
its lease (`common.training.leases`); a trial whose worker has gone is claimed by another, goes on
from its checkpoint, and its score is told once. What changes the journal does so under the folder's
lock.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.base.errors import UserError
from common.base.files import lock_folder, read_json, visible_names, write_json
from common.base.formats import stamp
from common.base.printing import counted
from common.base.project import Project
from common.base.settings import WITHOUT_CONSEQUENCE, SharedTrain
from common.base.signals import HeldSignals, Stopped, end_with_parent, held_signals
from common.records.prepared import Prepared
from common.training.best_epoch import best_score
from common.training.leases import Lease, take_lease
from common.training.runs import as_stored, now, read_run
from common.training.search_space import Varied
from common.training.trial_process import last_line, watch

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

FILE, JOURNAL = "search.json", "journal.log"
"""Of the folder: what is searched for, and Optuna's journal of its trials."""

REASON = "reason"
"""The user attribute of a failed trial that says why, in a line."""

# Seconds between two looks at the trials of other workers.
_LOOK_S = 1.0
# Exit statuses of a training that was asked to stop, the last two before it could hear it.
_STOPPED = {
    130: signal.SIGINT,
    143: signal.SIGTERM,
    -signal.SIGINT: signal.SIGINT,
    -signal.SIGTERM: signal.SIGTERM,
}
_STUDY = "search"


@dataclass(frozen=True)
class Plan:
    """What is searched for.

    Attributes:
        project: Whose trainings.
        script: The project's train.py.
        space: The settings that are varied.
        words: The others, as they were given to train.py.
        settings: The same, and what the preset has.
        prepared: What is trained on.
    """

    project: Project
    script: Path
    space: Sequence[Varied]
    words: Sequence[str]
    settings: SharedTrain
    prepared: Prepared

    @property
    def content(self) -> dict[str, Any]:
        """What all workers have in common, as search.json has it."""
        varied = {entry.name: entry.text for entry in self.space}
        stored = as_stored(self.settings)
        return {
            "project": self.project.name,
            "monitor": self.settings.monitor,
            "space": varied,
            "settings": {
                name: value
                for name, value in stored.items()
                if name not in WITHOUT_CONSEQUENCE and name not in varied
            },
            "data": self.prepared.sha256,
        }


@dataclass(frozen=True)
class Begun:
    """A trial that this worker trains.

    Attributes:
        trial: Optuna's.
        run: The run's folder.
        lease: The run's.
        words: Its settings, as words of train.py's command line.
    """

    trial: Trial
    run: Path
    lease: Lease
    words: Sequence[str]


class Search:
    """A worker of a search.

    Args:
        folder: That all workers share; it is created.
        plan: What is searched for.

    Raises:
        UserError: Optuna is not installed, the folder holds something else or another search, or
            its journal is damaged.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        if find_spec("optuna") is None:
            raise UserError(
                "optuna, which suggests the settings, is not installed; "
                'pip install -e ".[search]" in this repository'
            )
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder, self.plan = folder, plan
        self._journal = folder / JOURNAL
        self._journal_lock = JournalFileOpenLock(str(self._journal))
        with lock_folder(folder, wait=True):
            self._begin()
            self._cut_torn_line()
            try:
                storage = JournalStorage(JournalFileBackend(str(self._journal), self._journal_lock))
            except (ValueError, KeyError):
                words = "is damaged; search in another --folder"
                raise UserError(f"{self._journal}: {words}") from None
            if not storage.get_all_studies():
                is_loss = plan.settings.monitor == "val_loss"
                optuna.create_study(
                    storage=storage,
                    study_name=_STUDY,
                    direction="minimize" if is_loss else "maximize",
                )
            self._study: Study = optuna.load_study(study_name=_STUDY, storage=storage)

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials that were begun, by number, those of other workers too."""
        return self._study.get_trials(deepcopy=False)

    def run_of(self, number: int) -> Path:
        """The run's folder of a trial."""
        return self.folder / f"trial-{number:04d}"

    def work(self, count: int, failures: int) -> None:
        """Train trials until there are so many and all have ended.

        Args:
            count: How many trials the folder is to have.
            failures: How many in a row that failed, of whatever worker since this one began, end
                the search.

        Raises:
            UserError: So many failed.
            Stopped: Ctrl-C or SIGTERM; the training has saved, and its lease is free.
        """
        with held_signals() as held:
            earlier = {trial.number for trial in self.trials if trial.state.is_finished()}
            is_waiting = False
            while not held.received:
                trials = self.trials
                running = [trial for trial in trials if not trial.state.is_finished()]
                if len(trials) >= count and not running:
                    return
                self._refuse_failures(failures, earlier)
                with lock_folder(self.folder, wait=True):
                    begun = self._next(count)
                if begun is not None:
                    is_waiting = False
                    self._do(begun, held)
                    continue
                if not is_waiting:
                    words = f"waits for {counted(len(running), 'trial')} of other workers"
                    print(words, flush=True)
                is_waiting = True
                time.sleep(_LOOK_S)

    def _begin(self) -> None:
        """Write search.json, or hold it against what this worker searches for."""
        content = self.plan.content
        if not (self.folder / FILE).exists():
            if visible_names(self.folder):
                raise UserError(f"{self.folder}: is not empty and is no search; give another")
            write_json(self.folder / FILE, {**stamp(FILE), **content, "created": now()})
            return
        stored = read_json(self.folder / FILE)
        stored = stored if isinstance(stored, dict) else {}
        differ = [
            name for name in ("project", "monitor", "data") if stored.get(name) != content[name]
        ]
        for part, flag in (("space", "--over "), ("settings", "--")):
            before = stored.get(part)
            before = before if isinstance(before, dict) else {}
            differ += [
                flag + name.replace("_", "-")
                for name in sorted({*before, *content[part]})
                if before.get(name) != content[part].get(name)
            ]
        if differ:
            raise UserError(
                f"{self.folder}: is a search with another {', '.join(differ)}; give what its "
                f"{FILE} has, or another --folder"
            )

    def _cut_torn_line(self) -> None:
        """Take away a last line that a killed worker wrote in part."""
        if self._ends_whole():
            return
        self._journal_lock.acquire()
        try:
            if not self._ends_whole():
                os.truncate(self._journal, self._journal.read_bytes().rfind(b"\n") + 1)
        finally:
            self._journal_lock.release()

    def _ends_whole(self) -> bool:
        if not self._journal.exists() or not self._journal.stat().st_size:
            return True
        with open(self._journal, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    def _next(self, count: int) -> Begun | None:
        """A trial whose worker has gone, else a new one if there are to be more; under the lock."""
        import optuna

        self._cut_torn_line()
        trials = self.trials
        for frozen in trials:
            if not frozen.state.is_finished() and (lease := take_lease(self.run_of(frozen.number))):
                return self._begun(optuna.Trial(self._study, frozen._trial_id), lease)
        if len(trials) >= count:
            return None
        trial = self._study.ask()
        lease = take_lease(self.run_of(trial.number))
        if lease is None:
            raise UserError(f"{self.run_of(trial.number)}: another process is writing here")
        return self._begun(trial, lease)

    def _begun(self, trial: Trial, lease: Lease) -> Begun:
        import optuna

        # Of two workers with one seed each trial has draws of its own.
        seed = self.plan.settings.seed * 100_003 + trial.number
        self._study.sampler = optuna.samplers.TPESampler(seed=seed % 2**32)
        words = [word for v in self.plan.space for word in v.words(v.suggest(trial))]
        return Begun(trial, self.run_of(trial.number), lease, words)

    def _do(self, begun: Begun, held: HeldSignals) -> None:
        """Train a trial and tell its score, or why it has none."""
        number = begun.trial.number
        has_gone = f", whose worker ({begun.lease.before}) has gone" if begun.lease.before else ""
        print(f"trial {number}{has_gone}: {' '.join(begun.words)}", flush=True)
        try:
            score, reason = self._result(begun, held)
            if score is not None or reason:
                self._tell(begun, score, reason)
        finally:
            begun.lease.release()

    def _result(self, begun: Begun, held: HeldSignals) -> tuple[float | None, str]:
        """The score of a trial, or why it failed; neither where it is another worker's."""
        if not (begun.run / "fitted.json").exists():
            status, line = self._train(begun, held)
            if status is None or "is writing here; wait until it ends" in line:
                return None, ""
            if status in _STOPPED:
                raise Stopped(held.received or _STOPPED[status])
            if status:
                return None, line
        try:
            read_run(begun.run, self.plan.project.train_settings)
            return best_score(begun.run, self.plan.settings.monitor), ""
        except UserError as error:
            return None, str(error)

    def _train(self, begun: Begun, held: HeldSignals) -> tuple[int | None, str]:
        """Train in a process of its own, once more where that was killed.

        Returns:
            Its exit status, None where the lease was lost, and the line in which it says why.
        """
        log = self.folder / f"{begun.run.name}.log"
        command = [
            sys.executable, str(self.plan.script), *self.plan.words, *begun.words,
            "--prepared", str(self.plan.prepared.folder), "--run", str(begun.run),
        ]  # fmt: skip
        for _ in range(2):
            with open(log, "ab") as output:
                start = output.tell()
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    # A signal of the terminal comes to the worker alone, which hands it on.
                    process_group=0, preexec_fn=end_with_parent(),
                )  # fmt: skip
            is_lost = not watch(process, begun.lease, held)
            if is_lost:
                return None, ""
            # Of a machine that ends everything, the worker goes next: not a word of its own.
            if process.returncode != -signal.SIGKILL or held.received:
                break
        line = last_line(log, start)
        if process.returncode == -signal.SIGKILL:
            if held.received:
                raise Stopped(held.received)
            line = "the system killed its training twice (SIGKILL), perhaps for its memory"
        return process.returncode, line

    def _tell(self, begun: Begun, score: float | None, reason: str) -> None:
        """Tell what a trial came to, if nobody did."""
        from optuna.trial import TrialState

        number = begun.trial.number
        with lock_folder(self.folder, wait=True):
            self._cut_torn_line()
            if not begun.lease.is_held or self.trials[number].state.is_finished():
                return
            if score is None:
                begun.trial.set_user_attr(REASON, reason)
                self._study.tell(number, state=TrialState.FAIL)
            else:
                self._study.tell(number, score)
        if score is None:
            print(f"trial {number}: failed: {reason}", flush=True)
            return
        best = self._study.best_trial
        monitor = self.plan.settings.monitor
        print(
            f"trial {number}: {monitor} {score:.4f}; the best is {best.value:.4f} of trial "
            f"{best.number}",
            flush=True,
        )

    def _refuse_failures(self, failures: int, earlier: set[int]) -> None:
        """Refuse to go on after so many failed trials in a row."""
        from optuna.trial import TrialState

        ended = [
            (trial.datetime_complete, trial.number, trial)
            for trial in self.trials
            if trial.datetime_complete is not None and trial.number not in earlier
        ]
        last = [trial for *_, trial in sorted(ended, key=lambda entry: entry[:2])[-failures:]]
        if len(last) == failures and all(trial.state == TrialState.FAIL for trial in last):
            raise UserError(
                f"{self.folder}: {failures} trials in a row failed, the last, {last[-1].number}: "
                f"{last[-1].user_attrs.get(REASON, '')}"
            )
