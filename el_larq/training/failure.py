"""How a training fails: a loss or a state is NaN or Inf, or the run folder cannot be written. Does not import TensorFlow."""

import contextlib
import math
from collections.abc import Iterator

from el_larq.errors import ElLarqError, summarize
from el_larq.files import write_json
from el_larq.training.config import FAILURE
from el_larq.training.run_folder import RunFolder
from el_larq.training.state_files import StateFiles


class Failures:
    """The errors that end the training of a run; each says how to continue."""

    def __init__(self, run: RunFolder, states: StateFiles, learning_rate: float):
        self._run, self._states, self._learning_rate = run, states, learning_rate

    def check_loss(self, name: str, loss: float, step: int) -> None:
        """Raise ElLarqError if a loss is NaN or Inf, and record that in failure.json."""
        if not math.isfinite(loss):
            raise self.not_finite(name, str(loss), step)

    def not_finite(self, what: str, value: str, step: int) -> ElLarqError:
        """The error of something that is ``value`` (NaN or Inf) after ``step``; recorded in failure.json."""
        kept = self._states.kept_step()
        lower = f"--learning-rate {self._learning_rate / 10:g}"
        message = f"the {what} is {value} at step {step}; "
        if self._run.config.compiled is not None:
            message += "change the optimizer or loss that the network is compiled with"
        elif kept is None:
            message += f"train again with a lower rate: {lower}"
        else:
            message += f"step {kept} is kept; to continue from it with a lower rate: {self._run.command} {lower}"
        with contextlib.suppress(ElLarqError):
            write_json(self._run.folder / FAILURE, {"step": step, "kept_step": kept, "message": message})
        return ElLarqError(message)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turn a failure to write into an ElLarqError that states the cause and how to resume once it is fixed."""
        try:
            yield
        except (ElLarqError, OSError, RuntimeError) as error:  # HDF5 raises RuntimeErrors on a full disk
            kept = self._states.kept_step()
            cause = str(error) if isinstance(error, ElLarqError) else f"cannot write {self._run.folder}: {summarize(error)}"
            how = f"; step {kept} is kept; once this is fixed, continue with {self._run.command}" if kept is not None else ""
            raise ElLarqError(cause + how) from error
