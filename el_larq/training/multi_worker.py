"""One worker of a multi-worker training: a process that trains, and this one, which watches it and the other workers.

All workers execute the same program (`el_larq.training.distribution`). Worker 0 writes the run folder; the others have one of their
own in a temporary folder, which is removed at the end. To resume, they copy the run folder, which they must be able to read.

Does not import TensorFlow, except in the process that trains.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from el_larq.errors import ElLarqError, UsageError, summarize
from el_larq.native_output import captured_stderr
from el_larq.training.cluster import MULTI_WORKER, WATCHED, Cluster, check_divisible
from el_larq.training.config import CONFIG, read_config
from el_larq.training.meeting import Meeting, meet
from el_larq.training.run_folder import environment, resume_command
from el_larq.training.run_options import Notify, RunOptions, ignore
from el_larq.training.training_plan import TrainingPlan
from el_larq.worker_process import PATIENCE, Died, WorkerProcess, notify

MEETING_SECONDS = 120.0
"""How long the workers wait for each other at the start."""

_REASON_SECONDS = 10.0
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
        """What must be equal in all workers; paths may differ."""
        packages = environment()["packages"]
        if self.plan is None:
            states = sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("state-*.ckpt"))
            return {
                "packages": packages,
                "run": asdict(read_config(self.folder)),
                "saved_states": states,
                "learning_rate": self.learning_rate,
            }
        settings: dict[str, Any] = dict(self.plan.settings())
        for name in ("dataset", "init_from", "teacher"):
            del settings[name]
        return {"packages": packages, "network": self.plan.network_name, **settings, "recipe": asdict(self.plan.recipe)}


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
            meeting.watch(worker.process.kill)
            worker.send(_work, cluster, job, Path(scratch))
            try:
                end = _wait(worker, say)
            except ElLarqError as error:
                raise _failure(error, cluster, job, meeting, scratch) from None
        if end == _DISCONNECTED:
            reason = meeting.wait_for_loss(_REASON_SECONDS) or f"{cluster.name}: the connection to the other workers was lost"
            meeting.report("the connection to the other workers was lost")
            raise ElLarqError(reason + _how_to_continue(job))
        if end == _INTERRUPTED:
            raise KeyboardInterrupt


def _wait(worker: WorkerProcess, say: Callable[..., None]) -> str:
    try:
        return worker.receive(None, say)
    except KeyboardInterrupt:
        worker.process.terminate()  # asks for a stop after the current step, which all workers make together
        try:
            return worker.receive(PATIENCE, say)
        except ElLarqError:
            raise KeyboardInterrupt from None


def _failure(error: ElLarqError, cluster: Cluster, job: WorkerJob, meeting: Meeting, scratch: str) -> ElLarqError:
    """The error of this worker, after the others were told, or the reason why another one ended the training."""
    own = str(error).replace(str(Path(scratch) / job.folder.name), str(job.folder))
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
        if not isinstance(error, _of_connections(tf)):
            raise
        return _DISCONNECTED
    return _FINISHED


def _of_connections(tf: Any) -> tuple[type[Exception], ...]:
    """The errors that TensorFlow raises if another worker no longer answers."""
    errors = tf.errors
    return (
        errors.UnavailableError,
        errors.AbortedError,
        errors.CancelledError,
        errors.DeadlineExceededError,
        errors.InternalError,
        errors.FailedPreconditionError,
    )
