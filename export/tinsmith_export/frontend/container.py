"""What a `.keras` or HDF5 file holds, looked at before either Keras opens it.

Keras reads weights wherever an HDF5 file says that they are, in other files too, and asks for as
much memory as a header says. So a file is refused that holds more than Keras writes: links, storage
elsewhere, parts that unpack to far more than is stored.
"""

import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import h5py

from tinsmith_runtime.errors import TinsmithError
from tinsmith_runtime.files import open_regular

MAX_BYTES = 2 << 30
"""The largest file, and the largest weights: what TFLite and ONNX files can hold, too."""
MAX_ELEMENTS = 1 << 28
"""The largest tensor that a layer may give for one input, 1 GiB of float32."""

_MAX_TEXT = 64 << 20  # a configuration; that of the largest model of keras.applications takes 2 MB
_RATIO = 100  # Keras writes weights as they are; deflate at its best packs 1032 to one
_SMALL = 1 << 16
_MAX_NAMES = 1 << 16
_PARTS = {"metadata.json": _MAX_TEXT, "config.json": _MAX_TEXT, "model.weights.h5": MAX_BYTES}
# Variables that are not stored, such as the states of random numbers.
_SLACK = 1 << 22


@dataclass(frozen=True)
class Contents:
    """What a model's file says of itself.

    Attributes:
        version: of the Keras that wrote it.
        config: the model's configuration, as JSON gives it.
        elements: how many numbers are stored in it.
    """

    version: str
    config: Any
    elements: int


def read_contents(path: Path) -> Contents:
    """Reads a `.keras` or HDF5 file as far as its configuration, and checks the rest.

    Raises:
        TinsmithError: it holds what Keras does not write, or too much.
        OSError, KeyError, ValueError, zipfile.BadZipFile: it is damaged.
    """
    with open_regular(path) as file:
        size = file.seek(0, 2)
        if size > MAX_BYTES:
            raise TinsmithError(f"{path}: expected at most {MAX_BYTES} bytes, got {size}")
        file.seek(0)
        return _read_zip(path, file) if path.suffix == ".keras" else _read_hdf5(path, file)


def _read_zip(path: Path, file: BinaryIO) -> Contents:
    with zipfile.ZipFile(file) as archive:
        names = [info.filename for info in archive.infolist()]
        if sorted(names) != sorted(_PARTS):
            found = ", ".join(repr(name) for name in names[:9])
            raise TinsmithError(
                f"{path}: expected the parts {', '.join(_PARTS)}, got {found}: save the model with "
                "model.save, without layers that keep files"
            )
        for info in archive.infolist():
            packed = info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
            if packed or info.flag_bits & 1:
                raise TinsmithError(f"{path}: {info.filename} is encrypted or packed in an odd way")
            _check_size(path, info.filename, info.file_size, info.compress_size)
            if info.file_size > _PARTS[info.filename]:
                raise TinsmithError(
                    f"{path}: {info.filename}: expected at most {_PARTS[info.filename]} bytes, got "
                    f"{info.file_size}"
                )
        metadata = json.loads(archive.read("metadata.json"))
        config = json.loads(archive.read("config.json"))
        if not isinstance(metadata, dict) or "keras_version" not in metadata:
            raise TinsmithError(f"{path}: metadata.json says no keras_version")
        with h5py.File(BytesIO(archive.read("model.weights.h5")), "r") as weights:
            elements = _check_hdf5(path, weights)
    if isinstance(config, dict):
        config.pop("compile_config", None)  # the outermost is not loaded: losses may be anything
    return Contents(str(metadata["keras_version"]), config, elements)


def _read_hdf5(path: Path, file: BinaryIO) -> Contents:
    with h5py.File(file, "r") as weights:
        elements = _check_hdf5(path, weights)
        if "model_config" not in weights.attrs:
            raise TinsmithError(
                f"{path}: weights alone, no model: save it with model.save, not save_weights"
            )
        config = json.loads(weights.attrs["model_config"])
        return Contents(str(weights.attrs.get("keras_version", "2")), config, elements)


def _check_hdf5(path: Path, file: Any) -> int:
    """Counts the numbers in an HDF5 file, whose parts all lie in it."""
    waiting, seen, total, count = [file["/"]], set[int](), 0, 0
    while waiting:
        group = waiting.pop()
        _check_attributes(path, group)
        for name in group:
            where = f"{group.name.rstrip('/')}/{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise TinsmithError(
                    f"{path}: layer weights `{where}` are a link, perhaps to another file: save "
                    "the model with model.save"
                )
            part = group[name]
            # One group may hold another under two names, or itself.
            address = h5py.h5o.get_info(part.id).addr
            if isinstance(part, h5py.Group):
                waiting += [] if address in seen else [part]
                seen.add(address)
                continue
            size = _check_dataset(path, where, part)
            count += part.size
            total += size
            if total > MAX_BYTES:
                raise TinsmithError(
                    f"{path}: layer weights `{where}`: expected at most {MAX_BYTES} bytes in all, "
                    f"got {total} or more"
                )
    return count


def _check_dataset(path: Path, where: str, part: Any) -> int:
    """The size in bytes of an array that lies in the file."""
    if (
        not isinstance(part, h5py.Dataset)
        or part.dtype.kind not in "fiubSV"
        or part.dtype.hasobject
    ):
        raise TinsmithError(f"{path}: layer weights `{where}` are not an array of numbers")
    if part.external or part.is_virtual:
        raise TinsmithError(
            f"{path}: layer weights `{where}` lie in another file: save the model with model.save"
        )
    _check_attributes(path, part)
    size = part.size * part.dtype.itemsize if part.shape is not None else 0
    _check_size(path, where, size, part.id.get_storage_size())
    return size


def _check_attributes(path: Path, part: Any) -> None:
    """Refuses an attribute that takes far more memory than it takes in the file."""
    for name in part.attrs:
        attribute = part.attrs.get_id(name)
        count = math.prod(attribute.shape)
        texts = attribute.dtype.hasobject and count > _MAX_NAMES
        if texts or count * attribute.dtype.itemsize > _MAX_TEXT:
            raise TinsmithError(
                f"{path}: attribute `{name}` of `{part.name}` is not one that Keras writes"
            )


def _check_size(path: Path, name: str, size: int, stored: int) -> None:
    if size > _SMALL and size > _RATIO * stored:
        raise TinsmithError(
            f"{path}: {name} asks for {size} bytes, of which {stored} are stored: expected at most "
            f"{_RATIO} for each"
        )


@contextmanager
def weights_at_most(libraries: tuple[Any, ...], elements: int) -> Iterator[None]:
    """Within it, layers that ask for more weights than a file stores are refused by name."""
    left = elements + _SLACK
    classes = [library.layers.Layer for library in libraries]
    originals = [kind.add_weight for kind in classes]

    def guarded(add: Any, place: int) -> Any:
        def add_weight(layer: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal left
            shape = kwargs.get("shape", args[place] if len(args) > place else None)
            sizes = [shape] if isinstance(shape, int) else list(shape or ())
            wanted = math.prod(size for size in sizes if isinstance(size, int))
            left -= wanted
            if left < 0:
                raise TinsmithError(
                    f"layer `{layer.name}` ({type(layer).__name__}) asks for {wanted} weights, "
                    f"more than are left of the {elements} that the file holds"
                )
            return add(layer, *args, **kwargs)

        return add_weight

    for kind, original in zip(classes, originals, strict=True):
        # tf_keras takes the name first, Keras 3 the shape.
        kind.add_weight = guarded(original, int(kind.__module__.startswith("tf_keras")))
    try:
        yield
    finally:
        for kind, original in zip(classes, originals, strict=True):
            kind.add_weight = original


def require_small(layers: Iterator[Any]) -> None:
    """Refuses a model that has a layer whose output no machine could hold."""
    for layer in layers:
        for node in getattr(layer, "_inbound_nodes", ()):
            outputs = node.output_tensors if hasattr(node, "output_tensors") else node.outputs
            waiting = [outputs]
            while waiting:
                part = waiting.pop()
                if isinstance(part, list | tuple):
                    waiting += part
                elif isinstance(part, Mapping):
                    waiting += part.values()
                elif getattr(part, "shape", None) is not None:
                    shape = tuple(part.shape)
                    size = math.prod(size for size in shape[1:] if isinstance(size, int))
                    if size > MAX_ELEMENTS:
                        raise TinsmithError(
                            f"layer `{layer.name}` ({type(layer).__name__}) gives {shape}: "
                            f"expected at most {MAX_ELEMENTS} numbers for an input"
                        )
