"""The calls of layers that a `Functional` model's configuration lists, checked.

Keras makes these calls while it loads: with values alone it would compute at once, and layers that
wait for each other tf_keras would try for ever.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.frontend.cures import CURE
from tinsmith_runtime.errors import TinsmithError

SHAPES = ("compat.v1.shape",)
"""Functions of TensorFlow that give the shape of a tensor."""

_OF_SHAPES = ("__operators__.getitem", "reshape")


def require_tensors(node: Any, layer: str) -> None:
    """Refuses a call of a layer with values alone: Keras would make it while it loads."""
    if not any(_tensors(node)):
        raise UnsupportedLayerError(
            f"layer `{layer}` is called with a constant alone, and would run while it is loaded: "
            "compute the constant beforehand, in a weight of a layer"
        )


def _tensors(node: Any) -> Iterator[str]:
    """The layers whose outputs a call reads, in either Keras's form; nothing if one is a value."""
    waiting, found = [node], list[str]()
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if part.get("class_name") == "__keras_tensor__":
                history = part.get("config")
                history = history.get("keras_history") if isinstance(history, dict) else None
                found.append(str(history[0]) if isinstance(history, list) and history else "")
            elif "class_name" not in part:
                waiting += part.values()
        elif isinstance(part, list):
            if part and part[0] == "_CONSTANT_VALUE":
                return
            if len(part) in (3, 4) and isinstance(part[0], str):
                found.append(part[0])
            waiting += part
    yield from found


def require_order(config: Mapping[str, Any], model: str) -> None:
    """Refuses layers that wait for each other: tf_keras would wait for ever."""
    layers: dict[str, Mapping[str, Any]] = {}
    for entry in (entry for entry in config["layers"] if isinstance(entry, dict)):
        if "inbound_nodes" in entry and entry.setdefault("name", "") in layers:
            raise TinsmithError(f"layer `{entry['name']}` is twice in `{model}`: save it again")
        layers[str(entry.get("name", len(layers)))] = entry
    waiting = {name: _calls(entry) for name, entry in layers.items()}
    first = {name: _first_call(entry) for name, entry in layers.items()}
    made = {**first, **{name: 1 for name in layers if layers[name]["class_name"] == "InputLayer"}}
    moved = True
    while moved:
        moved = False
        for name, calls in waiting.items():
            while calls and all(
                one not in made or (isinstance(at, int) and first[one] <= at < made[one])
                for one, at in calls[0]
            ):
                calls.pop(0)
                made[name] += 1
                moved = True
    stuck = next((name for name, calls in waiting.items() if calls), None)
    if stuck is not None:
        raise TinsmithError(f"layer `{stuck}` waits for what comes of itself: save the model again")
    _check_sizes(layers, config.get("output_layers"))


def _check_sizes(layers: Mapping[str, Mapping[str, Any]], outputs: Any) -> None:
    """Refuses computing with a tensor's shape, but to say another's.

    TensorFlow computes what is made of a shape alone while the model is built, whatever its size.
    """
    sizes = {name for name, entry in layers.items() if _function(entry) in SHAPES}
    found = 0
    while found < len(sizes):
        found = len(sizes)
        for name, entry in layers.items():
            nodes = [tuple(_tensors(node)) for node in entry.get("inbound_nodes") or ()]
            if name in sizes or sizes.isdisjoint(itertools.chain(*nodes)):
                continue
            if _function(entry) not in _OF_SHAPES:
                raise unsupported(f"layer `{name}` computes with the shape of a tensor")
            if _function(entry) != "reshape" or any(node[0] in sizes for node in nodes):
                sizes.add(name)
    given = sizes.intersection(_tensors(outputs))
    if given:
        raise unsupported(f"layer `{min(given)}` gives the shape of a tensor as an output")


def _function(entry: Mapping[str, Any]) -> Any:
    config = entry.get("config")
    return config.get("function") if isinstance(config, dict) else None


def _calls(entry: Mapping[str, Any]) -> list[list[tuple[str, Any]]]:
    """The calls of a layer as tf_keras lists them, each with the calls whose outputs it reads."""
    found = []
    for node in entry.get("inbound_nodes") or ():
        waiting, read = [node], list[tuple[str, Any]]()
        while waiting:
            part = waiting.pop()
            if isinstance(part, dict):
                waiting += part.values()
            elif isinstance(part, list):
                if len(part) in (3, 4) and isinstance(part[0], str):
                    read.append((part[0], part[1]))
                waiting += part
        found.append(read if isinstance(node, list) else [])
    return found


def _first_call(entry: Mapping[str, Any]) -> int:
    """The number of a layer's first call: a model that has an input counts that as one."""
    config = entry.get("config")
    inside = config.get("layers") if isinstance(config, dict) else None
    if not isinstance(inside, list) or not inside or not isinstance(inside[0], dict):
        return 0
    setting = inside[0].get("config")
    shaped = isinstance(setting, dict) and not {"batch_input_shape", "batch_shape"}.isdisjoint(
        setting
    )
    return int(shaped or bool(_first_call(inside[0])))


def unsupported(what: str) -> UnsupportedLayerError:
    """The error for a layer that is not compiled and so not loaded."""
    return UnsupportedLayerError(f"{what}: {CURE}")
