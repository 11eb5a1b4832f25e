"""Checks that a configuration's layers can be called, and not too often: otherwise Keras may never finish building the model."""

from collections.abc import Iterator
from typing import Any

from el_larq.errors import ElLarqError

MAX_CALLS = 100_000
MAX_ROUNDS = 1_000

_Object = dict[Any, Any]
_NESTED = ("Functional", "Model", "Sequential")
_CONSTANT = "_CONSTANT_VALUE"
"""Marks an argument of a call that is a value instead of a layer's result."""


def check_calls(objects: list[_Object], source: str) -> None:
    """Reject layers that depend on each other or are called with constants only, and more than MAX_CALLS calls of nested models.

    Arguments:
        objects: every JSON object of the configuration, outer objects before those in them.

    Raises:
        ElLarqError: one line naming ``source``.
    """
    models = [node for node in objects if _layers(node)]
    calls: dict[int, int] = {}
    for model in reversed(models):
        _check_order(_layers(model), source)
        calls[id(model)] = sum(_times(layer) * _inner(layer, calls) for layer in _layers(model))
        if calls[id(model)] > MAX_CALLS:
            raise ElLarqError(f"{source}: its nested models call each other more than {MAX_CALLS:,} times; flatten it")


def _layers(node: _Object) -> list[_Object]:
    layers = node.get("layers")
    return [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []


def _nodes(layer: _Object) -> list[Any]:
    """The arguments of each call of a layer."""
    nodes = layer.get("inbound_nodes")
    return nodes if isinstance(nodes, list) else []


def _times(layer: _Object) -> int:
    return max(1, len(_nodes(layer)))


def _inner(layer: _Object, calls: dict[int, int]) -> int:
    """The number of calls in a layer's largest nested model (possibly inside a wrapper), or 1."""
    stack, most = [layer], 1
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if id(node) in calls:
                most = max(most, calls[id(node)])
                continue  # its count includes what is in it
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
    return most


def _check_order(layers: list[_Object], source: str) -> None:
    """Simulate Keras' calls: in rounds, each layer is called as far as its inputs are available."""
    waiting = {str(layer.get("name")): [set(_needs(node)) for node in _nodes(layer)] for layer in layers}
    called = dict.fromkeys(waiting, 0)
    inputs = {str(layer.get("name")) for layer in layers if layer.get("class_name") == "InputLayer"}
    # A nested model with an input was called when it was built: its calls here are numbered from 1, and none waits for call 0.
    first = {str(layer.get("name")): int(_has_input(layer)) for layer in layers}

    def ready(need: tuple[str, Any]) -> bool:
        name, call = need
        return name not in waiting or name in inputs or (call in range(first[name], first[name] + called[name]))

    for name, nodes in waiting.items():
        if not all(any(other in waiting and other != _CONSTANT for other, _ in needs) for needs in nodes):
            raise ElLarqError(
                f"{source}: calls its layer {name[:100]!r} with constants only, which Keras would compute while it loads the file; "
                "save the model again"
            )
    for _ in range(MAX_ROUNDS):
        moved = False
        for name, nodes in waiting.items():
            while called[name] < len(nodes) and all(ready(need) for need in nodes[called[name]]):
                called[name] += 1
                moved = True
        left = next((name for name, nodes in waiting.items() if called[name] < len(nodes)), None)
        if left is None:
            return
        if not moved:
            raise ElLarqError(f"{source}: its layer {left[:100]!r} depends on a layer that depends on it; save the model again")
    raise ElLarqError(f"{source}: calling its layers takes more than {MAX_ROUNDS:,} rounds; save the model again")


def _has_input(layer: _Object) -> bool:
    """Whether a layer is a nested model that is built with its input."""
    if layer.get("class_name") != "Sequential":
        return layer.get("class_name") in _NESTED
    config = layer.get("config")
    inner = _layers(config) if isinstance(config, dict) else []
    return not inner or inner[0].get("class_name") == "InputLayer" or "batch_input_shape" in (inner[0].get("config") or {})


def _needs(node: Any) -> Iterator[tuple[str, Any]]:
    """The calls whose results a call needs: any [layer, index of the call, index of the result, further arguments] in it."""
    stack = [node]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            stack.extend(part.values())
        elif isinstance(part, list):
            if len(part) in (3, 4) and isinstance(part[0], str):  # as in Keras
                yield part[0], part[1] if isinstance(part[1], (int, float)) else None
                stack.extend(part[3:])
            else:
                stack.extend(part)
