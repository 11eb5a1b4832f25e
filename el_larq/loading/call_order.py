"""Whether a configuration's layers can be called at all, and how often: Keras tries for ever, or for as long as it takes."""

from collections.abc import Iterator
from typing import Any

from el_larq.errors import ElLarqError

MAX_CALLS = 100_000
MAX_ROUNDS = 1_000

_Object = dict[Any, Any]
_NESTED = ("Functional", "Model", "Sequential")
_CONSTANT = "_CONSTANT_VALUE"
"""Stands where a call takes a value in place of a layer's result."""


def check_calls(objects: list[_Object], source: str) -> None:
    """Refuse models whose layers wait for each other, and nested ones that call each other more often than any network does.

    Arguments:
        objects: every JSON object of the configuration, outer ones before what is in them.

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
    """What a layer is called on, call by call."""
    nodes = layer.get("inbound_nodes")
    return nodes if isinstance(nodes, list) else []


def _times(layer: _Object) -> int:
    return max(1, len(_nodes(layer)))


def _inner(layer: _Object, calls: dict[int, int]) -> int:
    """The calls of a layer's largest nested model (it may sit inside a wrapper), or 1."""
    stack, most = [layer], 1
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if id(node) in calls:
                most = max(most, calls[id(node)])
                continue  # it has counted what is in it
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
    return most


def _check_order(layers: list[_Object], source: str) -> None:
    """Call the layers as Keras does: round after round, each as far as what it is called on has been."""
    waiting = {str(layer.get("name")): [set(_needs(node)) for node in _nodes(layer)] for layer in layers}
    called = dict.fromkeys(waiting, 0)
    inputs = {str(layer.get("name")) for layer in layers if layer.get("class_name") == "InputLayer"}
    # A nested model with an input was called when it was made: its other calls are counted from one, and none waits for that one.
    first = {str(layer.get("name")): int(_has_input(layer)) for layer in layers}

    def ready(need: tuple[str, Any]) -> bool:
        name, call = need
        return name not in waiting or name in inputs or (call in range(first[name], first[name] + called[name]))

    for name, nodes in waiting.items():
        if not all(any(other in waiting and other != _CONSTANT for other, _ in needs) for needs in nodes):
            raise ElLarqError(
                f"{source}: calls its layer {name[:100]!r} on constants alone, which Keras would compute at once; "
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
            raise ElLarqError(f"{source}: its layer {left[:100]!r} waits for a layer that waits for it; save the model again")
    raise ElLarqError(f"{source}: calling its layers takes more than {MAX_ROUNDS:,} rounds; save the model again")


def _has_input(layer: _Object) -> bool:
    """Whether a layer is a nested model that has its input from the start."""
    if layer.get("class_name") != "Sequential":
        return layer.get("class_name") in _NESTED
    config = layer.get("config")
    inner = _layers(config) if isinstance(config, dict) else []
    return not inner or inner[0].get("class_name") == "InputLayer" or "batch_input_shape" in (inner[0].get("config") or {})


def _needs(node: Any) -> Iterator[tuple[str, Any]]:
    """The calls whose results a call takes: [layer, number of the call, number of the result, further arguments] anywhere in it."""
    stack = [node]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            stack.extend(part.values())
        elif isinstance(part, list):
            if len(part) in (3, 4) and isinstance(part[0], str):  # so Keras tells them too
                yield part[0], part[1] if isinstance(part[1], (int, float)) else None
                stack.extend(part[3:])
            else:
                stack.extend(part)
