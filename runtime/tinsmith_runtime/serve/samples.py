"""From the body of a request to a batch: an image file, or JSON with `instances`."""

import base64
from typing import Any

import numpy as np

from tinsmith_runtime.batch import Array, Arrays, joined
from tinsmith_runtime.bundle import Input, Preprocessing
from tinsmith_runtime.errors import InputError
from tinsmith_runtime.inputs.features import check_features
from tinsmith_runtime.inputs.image import read_image
from tinsmith_runtime.record import read_json

MAX_INSTANCES = 64
"""How many samples a request may bring."""

MAX_JSON_BYTES = 4 << 20
"""Of a JSON body: as Python objects it takes up to 30 times its size."""


def read_picture(body: bytes, inputs: tuple[Input, ...]) -> Arrays:
    """Makes a batch of one image file.

    Raises:
        InputError: the model takes something else, or the file does not fit; see `read_image`.
    """
    entry = inputs[0]
    if len(inputs) > 1 or entry.kind != "image":
        raise InputError(
            f"image: the model takes {_described(inputs)}: expected JSON with instances"
        )
    return _image("image", body, entry)[np.newaxis]


def read_instances(body: bytes, inputs: tuple[Input, ...]) -> Arrays:
    """Makes a batch of `{"instances": [...]}`.

    An instance is nested lists of numbers of the input's shape, or `{"b64": "..."}`, an image file
    in base64. Of a model with several inputs it is an object with one of these for each, by name.

    Raises:
        InputError: it is not that, or an instance does not fit the model; named by its place.
    """
    try:
        tree = read_json(body.decode())
    except (ValueError, RecursionError) as error:
        why = "nested too deep" if isinstance(error, RecursionError) else error
        raise InputError(f"body: expected JSON: {why}") from error
    if not isinstance(tree, dict) or tree.keys() != {"instances"}:
        raise InputError('body: expected {"instances": [...]}')
    instances = tree["instances"]
    if not isinstance(instances, list) or not 1 <= len(instances) <= MAX_INSTANCES:
        raise InputError(f"instances: expected a list of 1 to {MAX_INSTANCES}")
    rows = [_row(f"instances[{i}]", value, inputs) for i, value in enumerate(instances)]
    return joined([np.stack(column) for column in zip(*rows, strict=True)])


def _row(path: str, value: Any, inputs: tuple[Input, ...]) -> list[Array]:
    if len(inputs) == 1:
        return [_array(path, value, inputs[0])]
    names = [entry.name for entry in inputs]
    if not isinstance(value, dict) or value.keys() != set(names):
        raise InputError(f"{path}: expected an object with {', '.join(names)}")
    return [_array(f"{path}.{entry.name}", value[entry.name], entry) for entry in inputs]


def _array(path: str, value: Any, entry: Input) -> Array:
    if entry.kind == "image" and isinstance(value, dict) and value.keys() == {"b64"}:
        try:
            return _image(path, base64.b64decode(value["b64"], validate=True), entry)
        except (TypeError, ValueError) as error:  # binascii.Error is a ValueError
            raise InputError(f"{path}.b64: expected base64 text") from error
    if not isinstance(value, list):
        more = ' or {"b64": "..."}' if entry.kind == "image" else ""
        raise InputError(f"{path}: expected lists of numbers{more}")
    try:
        array = np.array(value)
    except (ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"{path}: expected lists of equal lengths") from error
    if array.dtype.kind not in "iuf":
        raise InputError(f"{path}: expected numbers, got {array.dtype}")
    if entry.kind == "image":
        return read_image(_pixels(path, array), entry.sample_shape, name=path)
    last = entry.value_range[1] if entry.kind == "ids" and entry.value_range else None
    return check_features(path, array, entry.sample_shape, last)


def _pixels(path: str, array: Array) -> Array:
    if array.dtype.kind == "f" or (array.size and not 0 <= array.min() <= array.max() <= 255):
        raise InputError(f"{path}: expected whole numbers from 0 to 255")
    return array.astype(np.uint8)


def _image(name: str, data: bytes, entry: Input) -> Array:
    return read_image(data, entry.sample_shape, entry.preprocessing or Preprocessing(), name)


def _described(inputs: tuple[Input, ...]) -> str:
    return f"{len(inputs)} inputs" if len(inputs) > 1 else inputs[0].kind
