"""A training of a moment by one of several ranks, as a script: HOSTS RUN SECONDS."""

import sys
from pathlib import Path


def train():
    """Train as `tests.helpers.fit_run` does, with a validation of 7 points and an average."""
    from common.base import hosts
    from common.base.backend import start_tensorflow
    from common.base.rank_process import run_as_rank
    from tests.helpers import fit_run

    places, run, pause = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    run_as_rank(places)
    start_tensorflow("cpu")

    from common.training import fitting
    from common.training.precision import set_precision

    settings = fit_run.settings(hosts=places, run=run, epochs=4, ema_momentum=0.9)
    set_precision(settings.precision)
    run.mkdir(exist_ok=True)
    held_out = fit_run.validation(*fit_run.points(1.0, 7, 1), 4)
    batches = fit_run.training(settings, pause=pause)
    state = fitting.fit(
        run, fit_run.build, fitting.Task(batches, held_out, "mse", ["mae"]), settings
    )
    if hosts.leave():
        print(f"best epoch {state.best_epoch}")


if __name__ == "__main__":
    from common.base.errors import run_script

    run_script(train)
