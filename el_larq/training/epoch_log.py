"""The epochs of a run, for people and other programs: metrics.jsonl, metrics.csv and TensorBoard's files."""

from collections.abc import Sequence

from el_larq.training.figures import CSV, write_csv
from el_larq.training.run_folder import RunFolder, write_lines
from el_larq.training.selection import EpochRecord
from el_larq.training.tensorboard import TensorBoard


class EpochLog:
    """Opened with the records of the state that a training starts from, so that the files agree with it."""

    def __init__(self, run: RunFolder, records: Sequence[EpochRecord]):
        self._run = run
        self._write(records)
        self._tensorboard = TensorBoard(run.folder / "tensorboard", list(records))

    def add(self, records: Sequence[EpochRecord], record: EpochRecord) -> None:
        """Write ``record``, the one after ``records``."""
        self._write([*records, record])
        self._tensorboard.add(record)

    def close(self) -> None:
        self._tensorboard.close()

    def _write(self, records: Sequence[EpochRecord]) -> None:
        write_lines(self._run.metrics, list(records))
        if records:
            write_csv(self._run.folder / CSV, records)
