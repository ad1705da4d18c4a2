"""From the body of a request to samples: an image file, or JSON with `instances`."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

Instance = tuple[str, Any]
"""What errors call a sample, and what was sent: an image file's bytes, or JSON."""


def read_body(body: bytes, is_json: bool) -> list[Instance]:
    """Takes a body apart: it is one image file, or `{"instances": [...]}`.

    Raises:
        InputError: it is no such JSON.
    """
    if not is_json:
        return [("image", body)]
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
    return [(f"instances[{index}]", value) for index, value in enumerate(instances)]


def make_batch(instances: list[Instance], inputs: tuple[Input, ...]) -> Arrays:
    """Makes a batch as `Model.predict` takes it.

    An instance is nested lists of numbers of the input's shape, or `{"b64": "..."}`, an image file
    in base64. Of a model with several inputs it is an object with one of these for each, by name.

    Raises:
        InputError: an instance does not fit the model.
    """
    rows = [_row(path, value, inputs) for path, value in instances]
    return joined([np.stack(column) for column in zip(*rows, strict=True)])


def _row(path: str, value: Any, inputs: tuple[Input, ...]) -> list[Array]:
    if isinstance(value, bytes) and [entry.kind for entry in inputs] != ["image"]:
        taken = " and ".join(entry.kind for entry in inputs)
        raise InputError(f"{path}: the model takes {taken}: expected JSON with instances")
    if len(inputs) == 1:
        return [_array(path, value, inputs[0])]
    names = [entry.name for entry in inputs]
    if not isinstance(value, dict) or value.keys() != set(names):
        raise InputError(f"{path}: expected an object with {', '.join(names)}")
    return [_array(f"{path}.{entry.name}", value[entry.name], entry) for entry in inputs]


def _array(path: str, value: Any, entry: Input) -> Array:
    shape = entry.sample_shape
    if entry.kind == "image":
        preprocessing = entry.preprocessing or Preprocessing()
        return read_image(read_picture(path, value), shape, preprocessing, path)
    last = entry.value_range[1] if entry.kind == "ids" and entry.value_range else None
    return check_features(path, _numbers(path, value), shape, last)


def read_picture(path: str, value: Any) -> bytes | NDArray[np.uint8]:
    """Gives an instance of an image as `read_image` takes it.

    Raises:
        InputError: it is neither a file, nor one in base64, nor lists of 0 to 255.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict) and value.keys() == {"b64"}:
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}.b64: expected base64 text") from error
    pixels = _numbers(path, value, ' or {"b64": "..."}')
    if pixels.dtype.kind == "f" or (pixels.size and not 0 <= pixels.min() <= pixels.max() <= 255):
        raise InputError(f"{path}: expected whole numbers from 0 to 255")
    return pixels.astype(np.uint8)


def _numbers(path: str, value: Any, or_else: str = "") -> Array:
    if not isinstance(value, list):
        raise InputError(f"{path}: expected lists of numbers{or_else}")
    try:
        array = np.array(value)
    except (ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"{path}: expected lists of equal lengths") from error
    if array.dtype.kind not in "iuf":
        raise InputError(f"{path}: expected numbers, got {array.dtype}")
    return array
