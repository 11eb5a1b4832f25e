"""The replicas of a model: one, or several by a strategy of TensorFlow's. What a training does with replicas is in this module,
except that `TernarySplit` and batch normalizations combine their statistics of a batch.

Each replica computes the step of its share of a batch, and gradients are summed. With the batch statistics of the whole batch, a
step is that of one replica with the same batch, up to rounding. Weights and optimizer slots are the same in each replica. Variables
that are combined when they are read (metrics, moving statistics) have a value per replica.

All workers of a multi-worker training execute the same program; where they read such variables, they wait for each other. Decisions
that depend on a clock or a signal are therefore made together (`Distribution.any`).
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from el_larq.data.dataset import BatchShare
from el_larq.errors import ElLarqError, UsageError, summarize
from el_larq.keras_internals import synchronized_normalization
from el_larq.training.cluster import MULTI_WORKER, WATCHED, Cluster
from el_larq.training.recipe import Recipe
from el_larq.training.stopping import Stop


class Distribution:
    """Where the replicas are. Without a strategy there is one, and every method leaves things as they are.

    cluster: the workers, if there are several. replicas: the number of replicas in all workers together. share: what this process
    reads of each batch.
    """

    def __init__(self, name: str = "none", strategy: tf.distribute.Strategy | None = None, cluster: Cluster | None = None):
        self.name, self._strategy, self.cluster = name, strategy, cluster
        self.replicas: int = 1 if strategy is None else strategy.num_replicas_in_sync
        self.share = BatchShare() if cluster is None else BatchShare(cluster.index, len(cluster.workers))
        self._local = self.replicas // self.share.count
        self._sum: Any = tf.function(self._sum_flags)
        self._sums: dict[int, Any] = {}

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Context in which the model, its optimizer and metrics are made, and everything else happens to them."""
        return contextlib.nullcontext() if self._strategy is None else self._strategy.scope()

    def describe(self, recipe: Recipe, factor: int) -> str | None:
        """One line about the replicas, the batch and the learning rate; None for one device. ``factor``: see `facts`."""
        if self._strategy is None:
            return None
        workers = f" in {self.share.count} workers" if self.share.count > 1 else ""
        scaled = (
            f"the recipe's times {factor}, like the batch size" if factor != 1 else "as in the recipe, not scaled with the replicas"
        )
        return (
            f"strategy {self.name}: {self.replicas} replicas{workers}; global batch {recipe.batch_size}, "
            f"{recipe.batch_size // self.replicas} for each replica; learning rate {recipe.learning_rate:g}, {scaled}"
        )

    def facts(self, factor: int) -> dict[str, Any] | None:
        """What a run's config says about it. ``factor``: what batch size and learning rate of the recipe were multiplied with."""
        if self._strategy is None:
            return None
        return {"strategy": self.name, "workers": self.share.count, "replicas": self.replicas, "scaled_by": factor}

    def check_same(self, facts: dict[str, Any] | None, folder: Any) -> None:
        """Raise ElLarqError if a run was started with another number of replicas, as its config says."""
        then = (facts or {}).get("replicas", 1)
        if then != self.replicas:
            raise ElLarqError(
                f"{folder} was started with {then} replicas, and here are {self.replicas}; resume it with as many, or train again"
            )

    def prepare(self, model: keras.Model) -> contextlib.AbstractContextManager[None]:
        """Context in which a compiled model is trained: batch normalizations have the statistics of all replicas."""
        if self._strategy is None:
            return contextlib.nullcontext()
        compiled: Any = model
        compiled.distribute_reduction_method = "first"  # metrics are combined when they are read, so all replicas have the same
        return synchronized_normalization(model, self.replicas)

    def distribute(self, batches: Any) -> Any:
        """Batches of this process's share as those of its replicas; they repeat without end, so the caller counts them."""
        if self._strategy is None:
            return batches

        def split(part: Any) -> Any:
            return tf.reshape(part, [self._local, part.shape[0] // self._local, *part.shape[1:]])

        parts = batches.map(lambda *batch: tuple(split(part) for part in batch)).unbatch().repeat()
        return self._strategy.distribute_datasets_from_function(lambda _: parts)

    def joined(self, batches: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        """The batches of an evaluation; one with fewer images than replicas is joined with a neighbour: convolutions fail on none.

        Raises:
            UsageError: there are fewer images than replicas.
        """
        waiting: Any = None
        for batch in batches:
            if waiting is None:
                waiting = batch
            elif min(len(waiting[1]), len(batch[1])) < self.replicas:
                waiting = tuple(tf.concat(parts, 0) for parts in zip(waiting, batch, strict=True))
            else:
                yield waiting
                waiting = batch
        if waiting is not None:
            if len(waiting[1]) < self.replicas:
                raise UsageError(f"{len(waiting[1])} images cannot be evaluated by {self.replicas} replicas; omit --strategy")
            yield waiting

    def split(self, *tensors: Any) -> tuple[Any, ...]:
        """Tensors that each worker has, with the images of each replica: every n-th one."""
        if self._strategy is None:
            return tensors
        make = self._strategy.experimental_distribute_values_from_function
        return tuple(
            make(lambda context, tensor=tensor: tensor[context.replica_id_in_sync_group :: context.num_replicas_in_sync])
            for tensor in tensors
        )

    def run(self, function: Any, *arguments: Any) -> Any:
        """Call a function in each replica; used inside of a tf.function."""
        return function(*arguments) if self._strategy is None else self._strategy.run(function, args=arguments)

    def first(self, values: Any) -> Any:
        """One replica's values of what `run` returned."""
        if self._strategy is None:
            return values
        local = self._strategy.experimental_local_results
        return tf.nest.map_structure(lambda value: local(value)[0], values)

    def sum(self, value: Any) -> Any:
        """The sum over all replicas of what `run` returned."""
        return value if self._strategy is None else self._strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)

    def any(self, flag: bool) -> bool:
        """Whether a flag is set in any of the workers, which all have to ask."""
        return flag if self.share.count == 1 else bool(self._sum(tf.constant(float(flag))) > 0)

    def gathered(self, values: np.ndarray) -> np.ndarray:
        """The values of all workers, which all have to ask: a row for each, float32. All have the same number of values.

        There is at least one value: TensorFlow crashes when it sums empty tensors of several workers.
        """
        assert len(values), "an empty sum of several workers"
        rows = np.zeros((self.share.count, len(values)), np.float32)
        rows[self.share.index] = values
        if self.share.count == 1:
            return rows
        if len(values) not in self._sums:  # one for each size, and none is freed while workers exchange values
            self._sums[len(values)] = tf.function(self._sum_flags)
        return self._sums[len(values)](tf.constant(rows)).numpy() / self._local

    def _sum_flags(self, flag: tf.Tensor) -> Any:
        return self.sum(self.run(tf.identity, flag))


class AgreedStop(Stop):
    """A request to stop that all workers see at the same moment, whichever of them was asked."""

    def __init__(self, stop: Stop, distribution: Distribution):
        self._stop, self._distribution, self._known = stop, distribution, False

    @property
    def asked(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        self._known = self._known or self._distribution.any(self._stop.asked)
        return self._known


class ReplicaVariables:
    """The values of variables in all replicas, for saved states. Of a variable with a value per replica, these are stacked."""

    def __init__(self, variables: Sequence[tf.Variable], distribution: Distribution):
        self.variables, self._distribution = list(variables), distribution
        self._apart = [variable for variable in self.variables if self._is_apart(variable)]
        self._gather: Any = tf.function(self._gathered)

    def _is_apart(self, variable: Any) -> bool:
        return self._distribution.replicas > 1 and variable.synchronization == tf.VariableSynchronization.ON_READ

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        copies = (self._distribution.replicas,)
        shapes: list[Any] = [variable.shape.as_list() for variable in self.variables]
        return [(*copies * self._is_apart(variable), *shape) for variable, shape in zip(self.variables, shapes, strict=True)]

    def read(self) -> list[np.ndarray]:
        gathered = iter([value.numpy() for value in self._gather()] if self._apart else ())
        return [next(gathered) if self._is_apart(variable) else variable.numpy() for variable in self.variables]

    def write(self, values: Sequence[np.ndarray]) -> None:
        first = self._distribution.share.index * self._distribution.replicas // self._distribution.share.count
        for variable, value in zip(self.variables, values, strict=True):
            if self._is_apart(variable):
                distributed: Any = variable
                for number, component in enumerate(distributed.values, first):
                    component.assign(value[number])
            else:
                variable.assign(value)

    def _gathered(self) -> Any:
        def gather() -> Any:
            context: Any = tf.distribute.get_replica_context()
            return [context.all_gather(tf.expand_dims(tf.identity(variable), 0), 0) for variable in self._apart]

        return self._distribution.first(self._distribution.run(gather))


_opened: dict[str, Distribution] = {}


def open_distribution(strategy: str) -> Distribution:
    """The replicas of a strategy on this machine, or in the cluster of TF_CONFIG; a process makes a strategy once.

    Raises:
        UsageError: multi-worker in a process that nobody watches.
        ElLarqError: there is no TPU, or the cluster cannot be formed.
    """
    if strategy == "none":
        return Distribution()
    if strategy not in _opened:
        _opened[strategy] = _open(strategy)
    return _opened[strategy]


def _open(name: str) -> Distribution:
    if name == MULTI_WORKER:
        if WATCHED not in os.environ:
            raise UsageError("multi-worker training needs a process that watches the workers; start it with el-larq train")
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        resolver: Any = strategy.cluster_resolver
        return Distribution(name, strategy, Cluster(tuple(resolver.cluster_spec().as_dict()["worker"]), resolver.task_id))
    if name == "tpu":
        return Distribution(name, _tpu_strategy())
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return Distribution(name, tf.distribute.MirroredStrategy([device.name for device in devices]))


def _tpu_strategy() -> tf.distribute.Strategy:
    """The strategy of the TPU that the variable TPU_NAME names, or of the one in this machine."""
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=os.environ.get("TPU_NAME", "local"))
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except Exception as error:  # whatever the libraries of a TPU raise without one
        raise ElLarqError(
            f"no TPU can be used: {summarize(error)}; name one in the variable TPU_NAME, or choose another --strategy"
        ) from error
    return tf.distribute.TPUStrategy(resolver)
