"""The data set that a model is evaluated on, and the folder of the report."""

from collections.abc import Mapping
from pathlib import Path

from el_larq import card
from el_larq.data.dataset import Dataset
from el_larq.data.dataset_registry import load_dataset
from el_larq.data.names import folders
from el_larq.data.own_run import foreign_folder
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import ElLarqError, UsageError
from el_larq.model_files import run_of_model
from el_larq.outputs import Kind, check_folder, check_output


def evaluated_data(
    dataset: str | Dataset | None,
    input_shape: tuple[int, ...],
    model_card: card.Card,
    preprocessing: Preprocessing | None,
    path: Path,
    task: str = "classification",
) -> Dataset:
    """The data set, with images of the model's input size.

    Arguments:
        dataset: a name, or a data set; None for the one on the model's card.
        input_shape: of one image. preprocessing: that of the model, if it is known.
        task: what the model is for.

    Raises:
        UsageError: no data set is given or known, or it does not fit the model.
        ElLarqError: the card contradicts the model, or the data cannot be read.
    """
    height, width, _ = input_shape
    if preprocessing is not None and preprocessing.input_shape != input_shape:
        raise ElLarqError(f"{path}: takes inputs of shape {input_shape}; its card says {preprocessing.input_shape}")
    if dataset is None:
        dataset = card.dataset(model_card)
        if dataset is None:
            raise UsageError(f"{path}: its file does not say what it was trained on; name a data set with --dataset")
        if (folder := foreign_folder(dataset, path)) is not None:
            raise UsageError(
                f"{path}: its card names the folder {folder!r}, but the model is not in one of your own runs that names it too; "
                f"to read that folder, give --dataset {dataset!r}"
            )
    if isinstance(dataset, str):
        if height != width:
            raise UsageError(f"{path}: takes images of {height}x{width}; images of data sets are square")
        dataset = load_dataset(dataset, height, preprocessing=preprocessing, task=task)
    if dataset.task != task:
        raise UsageError(f"{path}: is for {task}, and {dataset.name} is a data set for {dataset.task}")
    if dataset.preprocessing.input_shape != input_shape:
        raise UsageError(
            f"{path}: takes inputs of shape {input_shape}; images of {dataset.name} are {dataset.preprocessing.input_shape}"
        )
    return dataset


def report_folder(out: str | Path | None, path: Path, data: Dataset, part: str, files: Mapping[str, Kind]) -> Path:
    """The folder for the report on a model, which is created.

    Arguments:
        out: the folder; None for evaluations/FOLDER-MODEL-DATASET and ``part``.
        files: what will be written there, by name.

    Raises:
        ElLarqError, UsageError: the folder is the data set's or the model's, contains other files of these names, or cannot be
            written.
    """
    slug = f"{(run_of_model(path.resolve()) or path.resolve().parent).name}-{path.name}-{data.slug}{part}"
    folder = Path(out) if out is not None else Path("evaluations") / slug
    check_folder(folder, inputs=(path, *folders(data.name)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ElLarqError(f"cannot write to {folder}: {error.strerror or error}") from error
    for name, kind in files.items():
        check_output(folder / name, kind)
    return folder
