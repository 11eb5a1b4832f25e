"""`el-larq train`."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from el_larq.cli.common import (
    common_options,
    complete_from,
    import_layers,
    model_options,
    print_json,
    show,
    start_tensorflow,
    strict_option,
)
from el_larq.cli.interruption import interruptible
from el_larq.cli.log_file import messages
from el_larq.cli.option_groups import (
    collect_settings,
    data_options,
    distribution_options,
    given_on_command_line,
    link_options,
    network_options,
    recipe_options,
    run_options,
)

if TYPE_CHECKING:
    from el_larq.training.cluster import Cluster
    from el_larq.training.multi_worker import WorkerJob
    from el_larq.training.run_options import Notify, RunOptions
    from el_larq.training.training_plan import Settings, TrainingPlan


@click.command()
@click.argument(
    "network",
    required=False,
    shell_complete=complete_from("el_larq.models.network_registry:NETWORKS", "el_larq.models.network_registry:DETECTORS"),
)
@click.option(
    "--method",
    shell_complete=complete_from("el_larq.methods.method_registry:METHODS"),
    help="Binarization method; see el-larq list methods. [default: el; float if the network is real-valued]",
)
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="Option of the method; can be repeated.")
@link_options
@data_options
@strict_option
@recipe_options
@network_options
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="RUN/config.json",
    help="Repeat a run in a new folder; other options override its settings.",
)
@run_options
@distribution_options
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Continue a run that was stopped or killed, or extend one with more --epochs.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no notes; only the result and errors.")
@click.option(
    "--log", type=click.Path(path_type=Path), metavar="FILE", help="Append progress and notes to FILE, with the time of each."
)
@model_options
@common_options
def command(
    network: str | None,
    resume: Path | None,
    config: Path | None,
    checkpoint_every: float,
    modules: tuple[str, ...],
    trust: bool,
    as_json: bool,
    workers: str | None,
    worker_index: int | None,
    worker_timeout: float,
    quiet: bool,
    log: Path | None,
    **given: Any,
) -> None:
    """Train NETWORK (resnet18, ssd_mobilenet, ...; see el-larq list networks) and save the model in a run folder.

    NETWORK can be your own: a file and a function (input_shape, num_classes) in it that returns a Keras model. zoo:NAME and
    keras:NAME=PATH train pretrained networks further.

    \b
    el-larq train resnet26
    el-larq train my_network.py:build
    el-larq train zoo:quicknet --dataset dir:my_data --freeze backbone
    el-larq train resnet26 --dataset dir:my_data --init-from model.h5
    el-larq train resnet26 --method bireal --link elastic --width 0.25 --epochs 10
    el-larq train resnet26 --dataset dir:my_data --init-from model.h5 --qat-bits 8
    el-larq train resnet18 --recipe real-to-binary
    el-larq train ssd_mobilenet --dataset voc:VOCdevkit
    el-larq train resnet18 --strategy mirrored
    el-larq train --resume runs/resnet26-el-photos-s0
    el-larq train --resume runs/resnet26-el-photos-s0 --epochs 60
    el-larq train --config runs/resnet26-el-photos-s0/config.json --seed 1
    """
    # Until the first step, SIGTERM and SIGHUP have the same effect as Ctrl-C.
    context = click.get_current_context()
    context.with_resource(interruptible())
    notify = context.with_resource(messages(log, quiet))
    bar = not quiet and log is None  # a log has the lines that take the place of a bar
    how = _How(checkpoint_every, modules, trust, as_json, workers, worker_index, worker_timeout, notify, bar)
    if resume is not None:
        _resume(resume, given["learning_rate"], given["epochs"], how)
        return
    # Everything that a plan checks is checked before TensorFlow is imported, which takes seconds.
    from el_larq.training.training_plan import make_plan

    if config is not None:
        plan = _make_repeated_plan(config, network, how)
    elif network is not None:
        plan = make_plan(network, **collect_settings(given, network))
    else:
        raise click.UsageError("Missing argument 'NETWORK'.", context)
    _start(plan, how)


@dataclass(frozen=True)
class _How:
    """Options that have no effect on what a training computes."""

    checkpoint_every: float
    modules: tuple[str, ...]
    trust: bool
    as_json: bool
    workers: str | None
    worker_index: int | None
    worker_timeout: float
    notify: "Notify"
    bar: bool

    @property
    def run_options(self) -> "RunOptions":
        """The same for a training in this process."""
        from rich.console import Console

        from el_larq.training.run_options import RunOptions

        console = None if self.bar else Console(quiet=True)
        return RunOptions(trust=self.trust, console=console, notify=self.notify, checkpoint_seconds=self.checkpoint_every)

    @property
    def job_options(self) -> dict[str, Any]:
        """The same for the job of a worker."""
        return {
            "trust": self.trust,
            "modules": self.modules,
            "checkpoint_seconds": self.checkpoint_every,
            "bar": self.bar,
        }

    def cluster(self, strategy: str) -> "Cluster | None":
        """The workers of a multi-worker training; None for another strategy."""
        from el_larq.training.cluster import MULTI_WORKER, find_cluster

        if strategy == MULTI_WORKER:
            return find_cluster(self.workers, self.worker_index, os.environ)
        if self.workers is not None or self.worker_index is not None:
            raise click.UsageError(f"--workers and --worker-index need --strategy {MULTI_WORKER}")
        return None


def _start(plan: "TrainingPlan", how: _How) -> None:
    if (cluster := how.cluster(plan.strategy)) is not None:
        from el_larq.training.multi_worker import new_job

        job = new_job(plan, cluster, **how.job_options)
        _run_worker(cluster, job, how)
        return
    start_tensorflow()
    import_layers(how.modules)
    from el_larq.training.train import start

    _print_result(start(plan, how.run_options).folder, how.as_json)


def _run_worker(cluster: "Cluster", job: "WorkerJob", how: _How) -> None:
    from el_larq.training.multi_worker import run_worker

    run_worker(cluster, job, how.notify, how.worker_timeout)
    if cluster.index == 0:
        _print_result(job.folder, how.as_json)
    else:
        how.notify(f"{cluster.name} is done; worker 0 has written {job.folder}")


def _make_repeated_plan(path: Path, network: str | None, how: _How) -> "TrainingPlan":
    """The plan that repeats a run, with the options that were given on the command line."""
    from el_larq.models.network_registry import DETECTORS, NETWORKS
    from el_larq.training.config import OWN, read_config
    from el_larq.training.repeat import remarks, repeated_settings, run_of
    from el_larq.training.training_plan import make_plan

    folder = run_of(path)
    config = read_config(folder)
    given = given_on_command_line(click.get_current_context())
    if {"data_dir", "augment"} & set(given):
        given.setdefault("dataset", config.dataset)
    if "options" in given and config.method != OWN:
        given.setdefault("method", config.method)
    chosen: Any = repeated_settings(config, folder, cast("Settings", collect_settings(given)))
    again: Any = network or config.network
    if network is None and config.network not in NETWORKS | DETECTORS:
        start_tensorflow()
        import_layers(how.modules)
        from el_larq.training.network import network_again

        again = network_again(folder, config, None, how.trust)
    plan = make_plan(again, **chosen)
    for line in remarks(config, folder, plan.scale_batch):
        how.notify(line)
    return plan


def _resume(folder: Path, learning_rate: float | None, epochs: int | None, how: _How) -> None:
    from el_larq.training.config import is_finished, read_config, read_result
    from el_larq.training.extension import check_extendable, is_extension
    from el_larq.training.resumable import check_resumable, tidy
    from el_larq.training.resume_options import check_no_contradiction

    config = read_config(folder)
    check_no_contradiction(config, folder, given_on_command_line(click.get_current_context()))
    longer = is_extension(config, epochs)
    if is_finished(folder) and not longer:
        read_result(folder)  # raises an error if it is damaged: then the states must be kept
        tidy(folder)
        how.notify(f"{folder} is finished; there is nothing to resume")
        _print_result(folder, how.as_json)
        return
    check_resumable(folder, config, learning_rate)
    if longer:
        check_extendable(folder, config)
    if (cluster := how.cluster((config.distribution or {}).get("strategy", "none"))) is not None:
        from el_larq.training.multi_worker import job_of_run

        job = job_of_run(folder, cluster, learning_rate=learning_rate, **how.job_options)
        _run_worker(cluster, job, how)
        return
    start_tensorflow()
    import_layers(how.modules)
    from el_larq.training.resuming import Replacements
    from el_larq.training.train import resume_run

    resume_run(folder, how.run_options, Replacements(learning_rate=learning_rate, epochs=epochs))
    _print_result(folder, how.as_json)


def _print_result(folder: Path, as_json: bool) -> None:
    from el_larq.card import simulated_name
    from el_larq.models.network_registry import needed_allowances
    from el_larq.training.config import read_config, read_result
    from el_larq.training.recipe import QAT_BITS
    from el_larq.training.selection import MAP_50, TITLES

    result, model, config = read_result(folder), folder / "model.h5", read_config(folder)
    if as_json:
        print_json({"run": str(folder), "model": str(model), **result})
        return
    bits = next((bits for bits in QAT_BITS if simulated_name(bits) in result), None)
    with_int8 = ""
    if bits is not None:
        with_int8 = f" ({result[simulated_name(bits)]:.4f} with simulated int{bits}{'' if bits == 8 else ', which no file has'})"
    figures = ", ".join(f"{title} {result[name]:.4f}" for name, title in TITLES.items() if name in result)
    show(f"test {figures}{with_int8} after {result['seconds']:.0f} s; model: {model}")
    if MAP_50 in result:
        show(f"next: el-larq evaluate {shlex.quote(str(model))}")
    # Runs of older versions do not contain what their model needs.
    entries = result.get("allow", needed_allowances(config.network_options))
    allow = "".join(f" --allow {shlex.quote(entry)}" for entry in entries)
    int8 = "" if bits is None else f" --int8 full --calibrate {shlex.quote(config.dataset)}"
    show(f"next: el-larq convert {shlex.quote(str(model))} -o model.tflite{int8}{allow}")
