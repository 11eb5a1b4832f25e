"""A user's own network: a Python file and a function in it that builds a Keras model, written ``my_network.py:build``.

    def build(input_shape, num_classes): ...   # (height, width, channels) and an integer to a keras.Model that returns logits

The function may also take ``method`` (an `el_larq.methods.method.Method`, whose ``unit`` binarizes a convolution), ``width``
and the options of built-in networks; the command line's options are passed to it under these names.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from el_larq.errors import ElLarqError, UsageError, summarize
from el_larq.loading.user_modules import run_file

NEEDED = ("input_shape", "num_classes")


def is_user_network(network: str) -> bool:
    """Whether the network is given as a Python file, with or without a function."""
    return network.rpartition(":")[0].endswith(".py") or network.endswith(".py")


def check_user_network(network: str) -> Path:
    """The file of a user's own network, without running it.

    Raises:
        UsageError: the file does not exist, or no function is named.
    """
    file, _, function = network.rpartition(":")
    if not file.endswith(".py") or not function.isidentifier():
        raise UsageError(f"{network}: also name the function that builds the network, as in my_network.py:build")
    if not Path(file).is_file():
        raise UsageError(f"{network}: there is no file {file}")
    return Path(file)


@dataclass(frozen=True)
class UserNetwork:
    """A loaded function, and the names of its arguments (None: it takes any)."""

    name: str
    path: Path
    function: Callable[..., Any]
    takes: frozenset[str] | None

    def accepts(self, argument: str) -> bool:
        return self.takes is None or argument in self.takes

    def build(self, input_shape: tuple[int, int, int], num_classes: int, **options: Any) -> Any:
        """The Keras model.

        Raises:
            UsageError: an option that the function does not take.
            ElLarqError: the function fails, or it does not return a Keras model with these inputs and outputs.
        """
        import tf_keras as keras

        for option in options:
            if not self.accepts(option):
                raise UsageError(f"{self.name} takes no {option!r}; omit the option, or add the argument to the function")
        try:
            model = self.function(input_shape=input_shape, num_classes=num_classes, **options)
        except ElLarqError:
            raise
        except Exception as error:  # whatever the user's code raises
            raise ElLarqError(f"{self.name} failed: {summarize(error)} (-v shows the traceback)") from error
        if not isinstance(model, keras.Model):
            hint = "; build it with tf_keras, not with Keras 3" if "keras" in type(model).__module__ else ""
            raise ElLarqError(f"{self.name} must return a Keras model; it returned a {type(model).__name__}{hint}")
        inputs, outputs = [[tuple(t.shape[1:]) for t in side or []] for side in (model.inputs, model.outputs)]
        if inputs != [tuple(input_shape)] or outputs != [(num_classes,)]:
            raise ElLarqError(
                f"{self.name} must map {tuple(input_shape)} to {num_classes} logits; its model maps {inputs} to {outputs}"
            )
        return model


def load_user_network(network: str) -> UserNetwork:
    """Run the file and return the function.

    Raises:
        UsageError: no such file or function, or the function does not take ``input_shape`` and ``num_classes``.
        ElLarqError: the file itself fails.
    """
    path, function_name = check_user_network(network), network.rpartition(":")[2]
    try:
        module = run_file(path)
    except UsageError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise ElLarqError(f"{path} cannot be imported: {summarize(error)} (-v shows the traceback)") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise UsageError(f"{path} has no function {function_name!r}")
    parameters = inspect.signature(function).parameters
    takes = None if any(p.kind is p.VAR_KEYWORD for p in parameters.values()) else frozenset(parameters)
    own = UserNetwork(network, path, function, takes)
    for argument in NEEDED:
        if not own.accepts(argument):
            raise UsageError(f"{network} must take {argument!r}, as in def {function_name}(input_shape, num_classes)")
    return own
