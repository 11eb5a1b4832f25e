"""One worker of a multi-worker training: a process that trains, and this one, which watches it and the other workers.

All workers execute the same program (`el_larq.training.distribution`). Worker 0 writes the run folder; the others have one of their
own in a temporary folder, which is removed at the end. To resume, they copy the run folder, which they must be able to read.

Does not import TensorFlow, except in the process that trains.
"""

import contextlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from el_larq.errors import ElLarqError, UsageError, summarize
from el_larq.files import hash_path
from el_larq.loading.user_network import is_user_network
from el_larq.model_files import model_file
from el_larq.native_output import captured_stderr
from el_larq.training.cluster import MULTI_WORKER, WATCHED, Cluster, check_divisible
from el_larq.training.config import CONFIG, OWN_SOURCE, read_config, recipe_of
from el_larq.training.meeting import Meeting, meet
from el_larq.training.recipe import Recipe
from el_larq.training.run_folder import environment, resume_command
from el_larq.training.run_options import Notify, RunOptions, ignore
from el_larq.training.stage_list import REFERENCES
from el_larq.training.training_plan import TrainingPlan
from el_larq.worker_process import PATIENCE, Died, Unexpected, WorkerProcess, notify
from el_larq.zoo.application_model import ApplicationWeights
from el_larq.zoo.named_models import is_model_name

MEETING_SECONDS = 120.0
"""How long the workers wait for each other at the start."""

_REASON_SECONDS, _LAST_SECONDS = 10.0, 5.0
_INTERRUPTED, _DISCONNECTED, _FINISHED = "interrupted", "disconnected", "finished"


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """What every worker executes: a plan, or, without one, the continuation of the run in ``folder``.

    folder: the run folder. learning_rate: a new one for a run whose loss was not finite. modules: the user's, with layers.
    bar: whether worker 0 may draw a progress bar.
    """

    folder: Path
    plan: TrainingPlan | None
    learning_rate: float | None = None
    trust: bool
    modules: tuple[str, ...]
    checkpoint_seconds: float
    bar: bool = True

    def agreement(self) -> dict[str, Any]:
        """What must be equal in all workers; paths of data and models may differ, files of the network and of models may not."""
        packages = environment()["packages"]
        if self.plan is None:
            config = read_config(self.folder)
            states = sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("state-*.ckpt"))
            return {
                "packages": packages,
                "run": asdict(config),
                "saved_states": states,
                "learning_rate": self.learning_rate,
                "network_file": hash_path(self.folder / OWN_SOURCE) if (self.folder / OWN_SOURCE).is_file() else None,
                **_contents(recipe_of(config, self.folder)),
            }
        settings: dict[str, Any] = dict(self.plan.settings())
        for name in ("dataset", "init_from", "teacher"):
            del settings[name]
        return {
            "packages": packages,
            "network": self.plan.network_name,
            **settings,
            "recipe": asdict(self.plan.recipe),
            "modules": list(self.modules),
            **_contents(self.plan.recipe, network=self.plan.network_name, init_from=self.plan.init_from),
        }


def _contents(recipe: Recipe, network: str | None = None, init_from: Path | None = None) -> dict[str, str | None]:
    """The hashes of the files of user networks, and of the models that a training starts from or compares with, by purpose."""
    networks: dict[str, str | None] = {"network_file": network}
    models: dict[str, Any] = {"init_from": init_from}
    names = [stage.name for stage in recipe.stages]
    for stage in recipe.stages or (recipe,):
        of = f" of stage {stage.name}" if recipe.stages else ""
        networks[f"network_file{of}"] = stage.network or networks.get(f"network_file{of}")
        models |= {f"{field}{of}": getattr(stage, field) for field in REFERENCES if getattr(stage, field) not in names}
    files = {name: Path(file.rpartition(":")[0]) for name, file in networks.items() if file is not None and is_user_network(file)}
    files |= {name: path for name, source in models.items() if source is not None and (path := _file_of_model(source)) is not None}
    return {name: hash_path(path) for name, path in files.items()}


def _file_of_model(source: str | Path) -> Path | None:
    """The file of a model; None for one of Larq Zoo, which was checked when it was fetched, and for one that is gone on resume."""
    if (weights := ApplicationWeights.parse(source)) is not None:
        path = weights.path
    else:
        path = None if is_model_name(source) else model_file(Path(source))
    return path if path is not None and path.exists() else None


def new_job(plan: TrainingPlan, cluster: Cluster, **options: Any) -> WorkerJob:
    """The job of a new training. Raises UsageError if the plan has no folder or its batches cannot be shared."""
    if plan.out is None:
        raise UsageError("multi-worker training needs -o RUN, a folder that all workers can read; a resume needs it")
    check_divisible(plan.recipe, len(cluster.workers), "workers")
    return WorkerJob(folder=plan.out, plan=plan, **options)


def job_of_run(folder: Path, cluster: Cluster, **options: Any) -> WorkerJob:
    """The job that resumes a run. Raises UsageError if the cluster has another number of workers than at its start."""
    then = (read_config(folder).distribution or {}).get("workers")
    if then != len(cluster.workers):
        raise UsageError(f"{folder} was started with {then} workers, and {len(cluster.workers)} are given; give as many addresses")
    return WorkerJob(folder=folder, plan=None, **options)


def run_worker(cluster: Cluster, job: WorkerJob, say: Notify, seconds: float = MEETING_SECONDS) -> None:
    """Execute the job in this worker, together with the others.

    Raises:
        ElLarqError: the training failed here, or a worker did not come or was lost; the message says which one.
        KeyboardInterrupt: a worker was asked to stop; the state is saved.
    """
    say(f"{cluster.name} of {len(cluster.workers)} waits for the others, at most {seconds:g} seconds")
    with meet(cluster, job.agreement(), seconds) as meeting, tempfile.TemporaryDirectory(prefix="el-larq-") as scratch:
        with WorkerProcess() as worker:
            meeting.watch(lambda: _end(worker))
            worker.send(_work, cluster, job, Path(scratch))
            try:
                end = wait_for_end(worker, say)
            except ElLarqError as error:
                raise _failure(error, cluster, job, meeting, scratch) from None
        if end == _DISCONNECTED:
            reason = meeting.wait_for_loss(_REASON_SECONDS) or f"{cluster.name}: the connection to the other workers was lost"
            meeting.report("the connection to the other workers was lost")
            raise ElLarqError(reason + _how_to_continue(job))
    if end == _INTERRUPTED:  # after the same step in all workers, so this is a normal end of the meeting
        raise KeyboardInterrupt


def _end(worker: WorkerProcess) -> None:
    """End the process that trains, after another worker has ended. What ended that one often ends this one too, by itself: it
    gets the time to write the reason (failure.json)."""
    wait([worker.process.sentinel], _LAST_SECONDS)
    worker.process.kill()


def wait_for_end(worker: WorkerProcess, say: Callable[..., None]) -> str:
    """How the training ended. An interruption makes it stop after the current step, which all workers make together.

    Raises:
        KeyboardInterrupt: it could not save its state, because it had not begun, took too long, or Ctrl-C was pressed again.
    """
    try:
        return worker.receive(None, say)
    except KeyboardInterrupt:
        try:
            with _hangups_ignored():
                worker.process.terminate()
                return worker.receive(PATIENCE, say)
        except ElLarqError:
            raise KeyboardInterrupt from None


@contextlib.contextmanager
def _hangups_ignored() -> Iterator[None]:
    """While the state is saved, a closed terminal or a scheduler may send more signals, which are not a second request."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _failure(error: ElLarqError, cluster: Cluster, job: WorkerJob, meeting: Meeting, scratch: str) -> ElLarqError:
    """The error of this worker, after the others were told, or the reason why another one ended the training."""
    own = str(error).replace(str(Path(scratch) / job.folder.name), str(job.folder))
    if isinstance(error, Unexpected) and meeting.lost is not None:  # an effect of that
        return ElLarqError(meeting.lost + _how_to_continue(job))
    if not isinstance(error, Died):
        meeting.report(own)
        return ElLarqError(own)
    # TensorFlow aborts a process that has lost the others; why, they say themselves.
    reason = meeting.wait_for_loss(_REASON_SECONDS if own.endswith("SIGABRT") else 0)
    if reason is None:
        hint = "; memory may have run out" if own.endswith("SIGKILL") else ""
        meeting.report(f"its process {own}{hint}")
        reason = f"{cluster.name}: its process {own}{hint}"
    return ElLarqError(reason + _how_to_continue(job))


def _how_to_continue(job: WorkerJob) -> str:
    if not (job.folder / CONFIG).is_file():
        return ""
    return f"; to continue, on every worker: {resume_command(job.folder, several=True)}"


def _work(cluster: Cluster, job: WorkerJob, scratch: Path) -> str:
    """The process that trains."""
    os.environ |= {"TF_CONFIG": cluster.tf_config, WATCHED: str(os.getppid())}
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow logs an error for each connection that is closed
    with captured_stderr():
        import el_larq  # noqa: F401  (first: it selects Keras 2)

        import tensorflow as tf  # isort: skip
        from rich.console import Console

        from el_larq.loading.user_modules import import_modules
        from el_larq.training.distribution import open_distribution
        from el_larq.training.resuming import Replacements
        from el_larq.training.stopping import Interrupted
        from el_larq.training.train import resume_run, start

        tf.config.list_physical_devices()
    import_modules(job.modules)
    first = cluster.index == 0
    options = RunOptions(
        trust=job.trust,
        console=None if first and job.bar else Console(quiet=True),
        notify=notify if first else ignore,
        checkpoint_seconds=job.checkpoint_seconds,
    )
    folder = job.folder if first else scratch / job.folder.name
    try:
        if job.plan is not None:
            start(replace(job.plan, out=folder), options)
        else:
            if not first:
                shutil.copytree(job.folder, folder)
            open_distribution(MULTI_WORKER)  # waits for all, so worker 0 changes the folder only after the others have their copies
            resume_run(folder, options, Replacements(learning_rate=job.learning_rate))
    except Interrupted:
        return _INTERRUPTED
    except OSError as error:
        raise ElLarqError(f"{cluster.name}: {summarize(error)}") from error
    except tf.errors.OpError as error:
        if not is_lost_connection(error):
            raise
        return _DISCONNECTED
    return _FINISHED


_CONNECTION_ERRORS = ("UnavailableError", "AbortedError", "CancelledError", "DeadlineExceededError")

_CONNECTION_TEXTS = ("collective ops is aborted", "incarnation", "coordination service", "socket closed", "connection reset")
"""What TensorFlow's messages about other workers contain, whichever type the error has; in lower case."""


def is_lost_connection(error: Exception) -> bool:
    """Whether TensorFlow raised an error because another worker no longer answers."""
    return type(error).__name__ in _CONNECTION_ERRORS or any(text in str(error).lower() for text in _CONNECTION_TEXTS)
