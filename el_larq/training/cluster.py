"""The machines of a training and what can be distributed over them. Does not import TensorFlow."""

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass

from el_larq.errors import UsageError, unknown_name
from el_larq.training.recipe import Recipe

STRATEGIES = ("none", "mirrored", "multi-worker", "tpu")
"""none: one device. mirrored: this machine's GPUs. multi-worker: processes, usually on several machines. tpu: a TPU's cores."""

MULTI_WORKER = "multi-worker"

WATCHED = "EL_LARQ_WATCHED_BY"
"""An environment variable of processes that another one watches (`el_larq.training.multi_worker`)."""


@dataclass(frozen=True)
class Cluster:
    """The addresses of all workers ("host:port"), the same list on each of them, and which one this is."""

    workers: tuple[str, ...]
    index: int

    @property
    def name(self) -> str:
        return self.name_of(self.index)

    def name_of(self, index: int) -> str:
        return f"worker {index} ({self.workers[index]})"

    @property
    def tf_config(self) -> str:
        """The value of the environment variable TF_CONFIG, by which TensorFlow finds the others."""
        return json.dumps({"cluster": {"worker": list(self.workers)}, "task": {"type": "worker", "index": self.index}})


def find_cluster(workers: str | None, index: int | None, environment: Mapping[str, str]) -> Cluster:
    """The cluster that is given by ``workers``, "host:port,host:port,...", or by TF_CONFIG.

    Raises:
        UsageError: neither is given, or it has an invalid or repeated address, an index out of range, or other roles than workers.
    """
    if workers is not None:
        if index is None:
            raise UsageError("--workers needs --worker-index, the number of this worker in the list, from 0")
        return _checked([address.strip() for address in workers.split(",")], index, "--workers", "--worker-index")
    if "TF_CONFIG" not in environment:
        raise UsageError(
            "multi-worker training needs --workers host:port,host:port,... and --worker-index, or the variable TF_CONFIG"
        )
    if index is not None:
        raise UsageError("--worker-index belongs to --workers; TF_CONFIG contains its own index")
    try:
        content = json.loads(environment["TF_CONFIG"])
        roles, task = dict(content["cluster"]), content["task"]
        addresses = [str(address) for role in ("chief", "worker") for address in roles.pop(role, [])]
        kind, position = task["type"], task["index"]
        if not isinstance(position, int) or isinstance(position, bool):
            raise TypeError(position)
        own = len(content["cluster"].get("chief", [])) + position if kind == "worker" else position
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            "TF_CONFIG is invalid; write it like this: "
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
        ) from error
    if roles or kind not in ("chief", "worker"):
        other = next(iter(roles), kind)
        raise UsageError(f"TF_CONFIG has the role {other!r}; only chief and worker take part in this training")
    return _checked(addresses, own, "TF_CONFIG", "its index")


def _checked(addresses: list[str], index: int, source: str, index_source: str) -> Cluster:
    for address in addresses:
        host, _, port = address.rpartition(":")
        if ":" in host and not (host.startswith("[") and host.endswith("]") and ip_version(host[1:-1]) == 6):
            raise UsageError(
                f"{source}: {address!r} is not an address host:port; write an IPv6 address in brackets, as in [::1]:5000"
            )
        if not host or not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65_535):
            raise UsageError(f"{source}: {address!r} is not an address host:port with a port from 1 to 65535")
        if addresses.count(address) > 1:
            raise UsageError(f"{source} names {address} twice; each worker needs an address of its own")
    if len(addresses) < 2:
        raise UsageError(f"{source} names {len(addresses)} worker; multi-worker training needs at least two")
    if not 0 <= index < len(addresses):
        raise UsageError(f"{index_source} {index} is out of range: {source} names workers 0 to {len(addresses) - 1}")
    return Cluster(tuple(addresses), index)


def ip_version(host: str) -> int | None:
    """4 or 6 for an IP address, None for a name."""
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return None


def check_distributable(strategy: str, recipe: Recipe, search: str | None) -> None:
    """Raise UsageError if a strategy is unknown, or if the recipe of one stage has something that only one replica can do."""
    if strategy not in STRATEGIES:
        raise unknown_name("strategy", strategy, STRATEGIES)
    if strategy == "none":
        return
    where = f"recipe {recipe.name} cannot be used with --strategy {strategy}: "
    if search is not None:
        raise UsageError(
            f"the method searches between epochs, in one process; --strategy {strategy} cannot be used with it; omit --strategy"
        )
    if recipe.optimizer == "bop":
        raise UsageError(f"{where}Larq's CaseOptimizer, which bop needs, does not sum gradients over replicas; choose adam or sgd")
    if recipe.qat_bits:
        raise UsageError(f"{where}qat_bits averages ranges on one replica only; set it to 0")
    if recipe.prune != "none":
        raise UsageError(f"{where}prune masks weights on one replica only; set it to none")
    if recipe.backbone_rate != 1:
        raise UsageError(f"{where}its backbone_rate works on one replica only; set it to 1")


def check_divisible(recipe: Recipe, parts: int, of: str) -> None:
    """Raise UsageError if a batch of the recipe, or of one of its stages, cannot be divided equally among replicas or workers."""
    for stage in recipe.stages or (recipe,):
        if stage.batch_size % parts:
            lower = max(parts, stage.batch_size // parts * parts)
            raise UsageError(
                f"batch size {stage.batch_size} is not divisible by the {parts} {of}; "
                f"choose a multiple, for example --batch-size {lower}"
            )


def scaled(recipe: Recipe, factor: int) -> Recipe:
    """The recipe with its batch size and learning rate, or those of its stages, times ``factor`` (Goyal et al., 2017)."""
    if recipe.stages:
        return recipe.with_stages(tuple(scaled(stage, factor) for stage in recipe.stages))
    return recipe.with_changes(batch_size=recipe.batch_size * factor, learning_rate=recipe.learning_rate * factor)


def unscaled(recipe: Recipe, factor: int) -> Recipe:
    """The recipe that `scaled` made this one of."""
    if recipe.stages:
        return recipe.with_stages(tuple(unscaled(stage, factor) for stage in recipe.stages))
    return recipe.with_changes(batch_size=recipe.batch_size // factor, learning_rate=recipe.learning_rate / factor)
