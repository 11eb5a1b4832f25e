"""One colour and marker for each model, in all plots and tables of a page."""

from pathlib import Path

from markupsafe import Markup, escape

from el_larq.model_files import run_of_model
from el_larq.printable import printable
from el_larq.report.collect import Material, TrainingRun
from el_larq.report.plots import Style
from el_larq.report.stored_detection import StoredDetection
from el_larq.report.stored_evaluation import StoredEvaluation


class Styles:
    """The styles of a page's models. A run shares that of its first .tflite; another .tflite of the same run has its own.

    A .tflite belongs to the run whose folder it is in, or from whose model it was converted; an evaluation, to the file whose
    SHA-256 it states, or else to the one with its path.
    """

    def __init__(self, material: Material):
        self._styles: dict[str, Style] = {}
        self._runs = {str(run.folder.resolve()): run for run in material.runs}
        self._models: dict[str, str] = {}
        hashes = {sha256: folder for folder, run in self._runs.items() for sha256 in run.model_hashes}
        taken = set()
        for sha256, model in material.models.items():
            place = Path(model.path).resolve()
            source = model.card.get("source_sha256")
            folder = next((str(parent) for parent in place.parents if str(parent) in self._runs), None)
            folder = folder or (hashes.get(source) if isinstance(source, str) else None)
            if folder is not None and folder not in taken:
                taken.add(folder)
                self._models[sha256] = folder
        self._paths = {str(Path(model.path).resolve()): sha256 for sha256, model in material.models.items()}
        for run in material.runs:
            self.of_run(run)
        for sha256 in material.models:
            self.of_model(sha256)

    def of_run(self, run: TrainingRun) -> Style:
        return self._of(str(run.folder.resolve()))

    def of_model(self, sha256: str) -> Style:
        return self._of(self._models.get(sha256, sha256))

    def of_evaluation(self, found: StoredEvaluation | StoredDetection) -> Style:
        path = Path(found.model).resolve()
        if path.suffix == ".tflite":
            return self.of_model(found.sha256 or self._paths.get(str(path), str(path)))
        for run in self._runs.values():
            if found.sha256 in run.model_hashes:
                return self.of_run(run)
        folder = run_of_model(path)
        return self._of(str(folder) if folder is not None else found.sha256 or str(path))

    def _of(self, key: str) -> Style:
        return self._styles.setdefault(key, Style(len(self._styles)))


def marked(name: str, style: Style) -> Markup:
    """A model's name behind its marker, for a table."""
    return Markup(f'<span aria-hidden="true" style="color:{style.colour}">{style.symbol}</span> {escape(printable(name))}')
