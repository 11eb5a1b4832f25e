"""`el-larq evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from el_larq.cli.common import (
    MODEL,
    common_options,
    complete_from,
    data_dir_option,
    import_layers,
    model_options,
    output_option,
    preprocessing_options,
    print_json,
    print_table,
    say,
    show,
    start_tensorflow,
)

if TYPE_CHECKING:
    from el_larq.evaluation.evaluate_detector import DetectionEvaluation


@click.command()
@click.argument("model", type=MODEL)
@click.option(
    "--dataset",
    shell_complete=complete_from("el_larq.data.dataset_registry:DATASETS"),
    help="Data set; see el-larq list datasets. [default: the one the model was trained on]",
)
@data_dir_option
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for the report. [default: evaluations/NAME]")
@click.option("--images", type=click.IntRange(1), help="Number of images, spread evenly over the test split. [default: all]")
@click.option("--workers", type=click.IntRange(1), help="Number of processes for a .tflite. [default: one per core]")
@click.option(
    "--calibrated-on",
    metavar="DATA|FILE.npy",
    help="Data set or file that an int8 MODEL was calibrated on; warns if it has images of the test split. [default: its card]",
)
@output_option
@preprocessing_options
@model_options
@common_options
def command(
    model: Path,
    dataset: str | None,
    data_dir: Path | None,
    out: Path | None,
    images: int | None,
    workers: int | None,
    calibrated_on: str | None,
    output: str | None,
    modules: tuple[str, ...],
    trust: bool,
    as_json: bool,
    **statements: Any,
) -> None:
    """Measure the accuracy of MODEL (.h5, .keras, SavedModel, .tflite or zoo:NAME) on the test split of a data set; of a
    detector, its average precision.

    Writes evaluation.json with confusion.svg and reliability.svg, or precision_recall.svg. An interrupted evaluation continues
    where it stopped.

    \b
    el-larq evaluate model.tflite
    """
    from el_larq.data.dataset_registry import check_dataset
    from el_larq.data.names import folders, with_options
    from el_larq.data.stated import stated
    from el_larq.evaluation.calibration_overlap import check_calibrated_on
    from el_larq.outputs import check_folder
    from el_larq.zoo.named_models import check_model

    stated(**statements)
    check_model(model)
    if calibrated_on is not None:
        check_calibrated_on(calibrated_on)
    if dataset is not None:
        dataset = with_options(dataset, data_dir)
        check_dataset(dataset, None)  # what the model is for shows when it is opened
    if out is not None:
        check_folder(out, inputs=(model, *folders(dataset or "")))
    if model.suffix != ".tflite":
        start_tensorflow()
        import_layers(modules)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from el_larq.evaluation.evaluate import evaluate
    from el_larq.evaluation.evaluate_detector import DetectionEvaluation

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("images")
        result = evaluate(
            model,
            dataset,
            output=output,
            out=out,
            images=images,
            workers=workers,
            trust=trust,
            calibrated_on=calibrated_on,
            notify=lambda done, total: progress.update(task, completed=done, total=total),
            note=lambda line: say(f"warning: {line}"),
            **statements,
        )
    if as_json:
        print_json({"folder": str(result.folder), **result.to_dict()})
        return
    if isinstance(result, DetectionEvaluation):
        _print_detector(result, model)
        return
    scores = result.scores
    rows = [(c.label, c.images, _percent(c.recall), _percent(c.precision)) for c in scores.classes]
    scored = f"{model}, output {result.output}," if output is not None else f"{model}"
    print_table(f"{scored} on {result.dataset}", ("class", "images", "recall", "precision"), rows)
    show(f"top-1             {scores.top1:.2%} of {scores.images:,} images")
    if scores.top5 is not None:
        show(f"top-5             {scores.top5:.2%}")
    show(f"calibration error {scores.ece:.4f}")
    if result.images_now < scores.images:
        say(f"{scores.images - result.images_now:,} images were evaluated before an interruption")
    show(f"report            {result.folder}")


def _print_detector(result: "DetectionEvaluation", model: Path) -> None:
    from el_larq.evaluation.evaluate_detector import MEANS

    columns = {"voc_all": "AP@0.5", "voc_11": "11 points", "coco": "AP@[.5:.95]", "coco_50": "AP50", "coco_75": "AP75"}
    rows = [(c["label"], c["objects"], *(_percent(c[name]) for name in columns)) for c in result.by_class()]
    print_table(f"{model} on {result.dataset}", ("class", "objects", *columns.values()), rows)
    means, width = result.scores.summary(), max(map(len, MEANS.values()))
    for name, title in MEANS.items():
        show(f"{title:<{width}} {means[name]:.2%}")
    show(f"{'images':<{width}} {result.images:,}")
    if result.images_now < result.images:
        say(f"{result.images - result.images_now:,} images were evaluated before an interruption")
    show(f"{'report':<{width}} {result.folder}")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
