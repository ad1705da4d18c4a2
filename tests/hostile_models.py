"""Model files that try to run, read or take what they should not, and what each would do.

    python tests/hostile_models.py            # builds and loads every one, prints the counts
    python tests/hostile_models.py --live     # also shows that Keras alone would run the payloads

Each is an honest little model with something changed. Where a payload can be run, it writes a file.
"""

import argparse
import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np

SHAPE = (8, 8, 3)
MARKER = "marker"  # what a payload writes, beside the model

Edit = Callable[[Any, Path], None]


@dataclass(frozen=True)
class Hostile:
    """A file that no loading may run.

    Attributes:
        name: what it tries.
        library: which Keras it is for, `keras` or `tf_keras`.
        suffixes: of the files that it comes as.
        edit: changes the configuration, given a folder for the payload.
        said: part of the error; the layer's name where there is one.
        live: whether that Keras alone writes the marker while it loads.
    """

    name: str
    library: str
    edit: Edit
    said: str
    suffixes: tuple[str, ...] = (".keras", ".h5")
    live: bool = False


def honest(library: Any) -> Any:
    """A model with a model in it, a wrapper around a layer, and layers that hold other objects."""
    layers = library.layers
    source = library.Input(SHAPE, name="pixels")
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(source)
    inner = library.Sequential(
        [library.Input((8, 8, 4)), layers.Conv2D(4, 1, name="inside")], name="inner"
    )
    x = layers.Reshape((8, 32), name="rows")(inner(x))
    x = layers.Bidirectional(layers.GRU(2, name="memory"), name="both")(x)
    return library.Model(source, layers.Dense(3, name="last")(x), name="victim")


def layers_of(config: Any) -> dict[str, Any]:
    """Every layer of a configuration by name."""
    found: dict[str, Any] = {}
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            inside = part.get("config")
            if "class_name" in part and isinstance(inside, dict) and "name" in inside:
                found.setdefault(inside["name"].removeprefix("forward_"), part)
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return found


def _operator(function: str, kind: str = "TFOpLambda", **config: Any) -> dict[str, Any]:
    return {
        "module": "tf_keras.src.layers.core.tf_op_layer",
        "class_name": kind,
        "config": {"name": "evil", "trainable": True, "dtype": "float32", "function": function}
        | config,
        "registered_name": kind,
        "name": "evil",
    }


def _constant(entry: dict[str, Any], value: Any, **kwargs: Any) -> dict[str, Any]:
    """A layer that tf_keras calls with a constant while it loads."""
    return entry | {"inbound_nodes": [["_CONSTANT_VALUE", -1, value, kwargs]]}


def _written(folder: Path, function: str = "io.write_file", kind: str = "TFOpLambda") -> Any:
    return _constant(_operator(function, kind), str(folder / MARKER), contents="written")


def _add(config: Any, entry: dict[str, Any]) -> None:
    """Puts a layer into a functional model; in an old file, the old way."""
    entry = copy.deepcopy(entry)
    if "module" not in config["config"]["layers"][0]:
        entry.pop("module", None), entry.pop("registered_name", None)
    config["config"]["layers"].append(entry)


def added(build: Callable[[Path], dict[str, Any]]) -> Edit:
    return lambda config, folder: _add(config, build(folder))


def _nested(config: Any, folder: Path) -> None:
    """The gadget in a functional model that is inside the model."""
    inner = copy.deepcopy(config)
    inner["config"]["name"] = inner["name"] = "deep"
    inner["inbound_nodes"] = []
    _add(inner, _written(folder))
    config["config"]["layers"].append(inner)


def _wrapped(config: Any, folder: Path) -> None:
    """The gadget in a model that a Bidirectional layer wraps."""
    inner = copy.deepcopy(config)
    _add(inner, _written(folder))
    layers_of(config)["both"]["config"]["layer"] = inner


def _set(layer: str, key: str, value: Any, *, outside: bool = False) -> Edit:
    def edit(config: Any, folder: Path) -> None:
        entry = layers_of(config)[layer]
        (entry if outside else entry["config"])[key] = copy.deepcopy(value)

    return edit


def _class(module: str | None, name: str, config: Any = None, **rest: Any) -> dict[str, Any]:
    entry = {"class_name": name, "config": {} if config is None else config, **rest}
    return entry if module is None else {"module": module, **entry}


# Imports a module that this process can import and that nothing has imported, `tinsmith_payload`
# beside the model, which writes the marker: what `module` does in tf_keras.
_PAYLOAD = _class("tinsmith_payload", "Thing", {"name": "thing"}, registered_name="Thing")
_SYSTEM = {
    "module": "os",
    "class_name": "function",
    "config": "system",
    "registered_name": "system",
}
_LAMBDA = {"class_name": "__lambda__", "config": {"value": ["4wAAAAA=", None, None]}}
_BAD = {"units": 1 << 34}


def _rename(layer: str, kind: str, **config: Any) -> Edit:
    """Makes another class of a layer."""

    def edit(tree: Any, folder: Path) -> None:
        entry = layers_of(tree)[layer]
        entry["class_name"] = kind
        entry["config"] = {"name": layer, **config}
        entry.pop("build_config", None)

    return edit


def _loop(config: Any, folder: Path) -> None:
    """Two layers that wait for each other."""
    reference = config["config"]["layers"][-1]["inbound_nodes"]
    text = json.dumps(reference).replace("both", "last")
    config["config"]["layers"][-1]["inbound_nodes"] = json.loads(text)


def _many_calls(config: Any, folder: Path) -> None:
    """Models in models, each called twice by the one around: 2^24 calls."""
    layer: dict[str, Any] = {"class_name": "ReLU", "config": {"name": "relu"}, "name": "relu"}
    layer["inbound_nodes"] = [[["x", 0, 0, {}]]]
    source: dict[str, Any] = {
        "class_name": "InputLayer",
        "config": {"name": "x", "batch_input_shape": [None, 4]},
    }
    source |= {"name": "x", "inbound_nodes": []}
    first = 0
    for depth in range(24):
        ends = {"input_layers": [["x", 0, 0]], "output_layers": [[layer["name"], first + 1, 0]]}
        if depth == 0:
            ends["output_layers"] = [[layer["name"], 0, 0]]
        name = f"level{depth}"
        inner = {"name": name, "layers": [copy.deepcopy(source), layer], **ends}
        layer = {"class_name": "Functional", "config": inner, "name": name}
        layer["inbound_nodes"] = [[["x", 0, 0, {}]], [[name, 1, 0, {}]]]
        first = 1
    config["config"] = layer["config"]


def _deep(config: Any, folder: Path) -> None:
    tree: Any = 1
    for _ in range(200):
        tree = [tree]
    layers_of(config)["last"]["config"]["units"] = tree


def _tf(name: str, edit: Edit, said: str, **rest: Any) -> Hostile:
    return Hostile(name, "tf_keras", edit, said, **rest)


_KERAS_ONLY: dict[str, Any] = {"suffixes": (".keras",)}
_H5_ONLY: dict[str, Any] = {"suffixes": (".h5",)}


def _both(name: str, edit: Edit, said: str, **rest: Any) -> Iterator[Hostile]:
    for library in ("keras", "tf_keras"):
        yield Hostile(name, library, edit, said, **rest)


def _eager(function: str, value: Any, **kwargs: Any) -> Edit:
    return added(lambda _: _constant(_operator(function), value, **kwargs))


CONFIGURATIONS = (
    # tf_keras calls a function of TensorFlow that the file chose.
    _tf("writes a file", added(_written), "`evil`", live=True),
    _tf(
        "writes a file, as a slice",
        added(lambda folder: _written(folder, kind="SlicingOpLambda")),
        "`evil`",
        live=True,
    ),
    _tf(
        "writes a file, by its old name",
        added(lambda folder: _written(folder, "compat.v1.write_file")),
        "`evil`",
        live=True,
    ),
    _tf("writes a file, in a model", _nested, "`evil`", live=True),
    _tf("writes a file, in a wrapper", _wrapped, "`evil`", live=True),
    _tf("removes a file", _eager("io.gfile.remove", "/nonexistent"), "`evil` calls.*gfile"),
    _tf("loads a library", _eager("load_library", "/nonexistent.so"), "`evil`"),
    _tf("loads operators", _eager("load_op_library", "/nonexistent.so"), "`evil`"),
    _tf("runs Python", _eager("numpy_function", "x", func="y", Tout="float32"), "`evil`"),
    _tf("reads a file", _eager("io.read_file", "/etc/hostname"), "`evil`"),
    _tf("an allowed function of a constant", _eager("tile", [1.0], multiples=[9]), "`evil`"),
    _tf(
        "an allowed function of no tensor",
        added(lambda _: _operator("concat") | {"inbound_nodes": [[]]}),
        "`evil`",
    ),
    _tf(
        "a method of a class",
        added(
            lambda _: _constant(
                _operator("x", "ClassMethod", cls_symbol="io.gfile.GFile", method_name="write"), "x"
            )
        ),
        "`evil`",
    ),
    _tf(
        "a method of a tensor",
        added(lambda _: _constant(_operator("x", "InstanceMethod", attr_name="numpy"), [1])),
        "`evil`",
    ),
    _tf(
        "an attribute of a tensor",
        added(lambda _: _constant(_operator("x", "InstanceProperty", attr_name="graph"), [1])),
        "`evil`",
    ),
    _tf("an operator as a message", _rename("last", "TensorFlowOpLayer", node_def="x"), "`last`"),
    # A file names modules to import: of the model itself, tf_keras imports any.
    _tf(
        "imports for the model",
        lambda config, _: config.update(_PAYLOAD),
        "`thing` .tinsmith_payload",
        live=True,
        **_KERAS_ONLY,
    ),
    _tf(
        "imports for an initializer",
        _set("first", "kernel_initializer", _PAYLOAD),
        "`first`.*kernel_initializer",
    ),
    _tf(
        "imports for a regularizer",
        _set("last", "kernel_regularizer", _PAYLOAD),
        "`last`.*kernel_regularizer",
    ),
    _tf("imports for a constraint", _set("last", "bias_constraint", _PAYLOAD), "`last`"),
    _tf("imports for a dtype policy", _set("last", "dtype", _PAYLOAD), "`last`.*dtype"),
    _tf(
        "imports in a model's layer",
        _set("inside", "kernel_initializer", _PAYLOAD),
        "`inside`",
    ),
    _tf(
        "imports in a wrapper's layer",
        _set("memory", "kernel_initializer", _PAYLOAD),
        "memory`",
    ),
    *_both("imports in build_config", _set("last", "build_config", _PAYLOAD, outside=True), "last"),
    *_both(
        "compiles an inner model",
        _set("inner", "compile_config", {"optimizer": _PAYLOAD}, outside=True),
        "`inner`",
    ),
    _tf("runs a command", _set("first", "activation", _SYSTEM), "`first`.*system"),
    *_both("evaluates", _set("first", "activation", _SYSTEM | {"config": "eval"}), "`first`.*eval"),
    *_both(
        "says one name and registers another",
        _set("first", "registered_name", "Custom>Thing", outside=True),
        "`first`",
        **_KERAS_ONLY,
    ),
    # A name as plain text.
    *_both("names a function of a module", _set("first", "activation", "os>system"), "`first`"),
    *_both("an activation that is none", _set("last", "activation", "deserialize"), "`last`"),
    _tf("a registered class", _set("last", "activation", "Custom>SGD"), "`last`"),
    *_both("an initializer that is none", _set("last", "bias_initializer", "os"), "`last`"),
    # Code, and layers that open files or call what a file chose.
    *_both("a Lambda as an activation", _set("first", "activation", _LAMBDA), "Lambda"),
    *_both(
        "a Lambda under a name", _rename("last", "Custom>Lambda", function="x"), "`last`.*Lambda"
    ),
    *_both("a vocabulary", _rename("last", "StringLookup", vocabulary="/etc/passwd"), "`last`"),
    *_both("a text's vocabulary", _rename("last", "TextVectorization", vocabulary="/x"), "`last`"),
    *_both("numbers' vocabulary", _rename("last", "IntegerLookup", vocabulary="/x"), "`last`"),
    Hostile("a SavedModel", "keras", _rename("last", "TFSMLayer", filepath="/x"), "`last`"),
    Hostile("PyTorch", "keras", _rename("last", "TorchModuleWrapper", module="x"), "`last`"),
    Hostile("JAX", "keras", _rename("last", "JaxLayer", call_fn="x"), "`last`"),
    Hostile("Flax", "keras", _rename("last", "FlaxLayer", module="x"), "`last`"),
    *_both("a type", _set("first", "strides", {"class_name": "__typespec__"}), "`first`"),
    *_both("a tensor as an input", _set("pixels", "input_tensor", [[1.0]]), "`pixels`"),
    # Sizes.
    *_both("a dense layer of 64 GiB", _set("last", "units", 1 << 34), "`last`.*asks for"),
    *_both("a kernel of 64 GiB", _set("first", "kernel_size", [1 << 17, 1 << 17]), "`first`"),
    *_both("an image of 64 GiB", _rename("rows", "RepeatVector", n=1 << 34), "`rows`|Keras cannot"),
    _tf(
        "an input of 64 GiB",
        lambda config, _: config.update(
            _class(
                None,
                "Sequential",
                {
                    "name": "large",
                    "layers": [
                        _class(
                            None,
                            "InputLayer",
                            {"name": "wide", "batch_input_shape": [None, 1 << 34]},
                        ),
                        _class(None, "ReLU", {"name": "relu"}),
                    ],
                },
            )
        ),
        "`wide`|`relu`|Keras cannot",
        **_H5_ONLY,
    ),
    *_both(
        "a text of 8 GB",
        _set(
            "first",
            "strides",
            {"class_name": "__numpy__", "config": {"value": ["a"], "dtype": "U2000000000"}},
        ),
        "`first`",
    ),
    # What never ends.
    _tf("layers in a ring", _loop, "`last` waits"),
    _tf("models called twice, 24 deep", _many_calls, "calls of its layers", **_H5_ONLY),
    *_both("unrolled steps", _set("memory", "unroll", True), "memory`.*unroll"),
    _tf("steps one by one", _rename("rows", "UpSampling1D", size=1 << 30), "`rows`"),
    # What is no configuration.
    *_both("nested 200 deep", _deep, "`last`.*nested"),
    *_both("a class that is a list", _set("last", "class_name", ["Dense"], outside=True), "last"),
    *_both("a number of 5,000 digits", _set("last", "units", "HUGE"), "Keras cannot load"),
    *_both("no number", _set("last", "units", float("nan")), "Keras cannot load"),
)


def write(model: Any, path: Path, edit: Callable[[Any], None]) -> None:
    """Saves a model with its configuration changed."""

    def changed(text: str | bytes) -> str:
        config = json.loads(text)
        edit(config)
        return json.dumps(config).replace('"HUGE"', "1" * 5000)

    plain = path.with_name(f"plain{path.suffix}")
    if not plain.exists():
        model.save(plain)
    if path.suffix == ".h5":
        shutil.copy(plain, path)
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = changed(file.attrs["model_config"])
        return
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, changed(data) if name == "config.json" else data)


def _edited(hostile: Hostile, folder: Path, config: Any) -> None:
    hostile.edit(config, folder)


def configurations(folder: Path) -> Iterator[tuple[Hostile, Path]]:
    """Writes every model whose configuration is hostile."""
    import keras
    import tf_keras

    models = {"keras": honest(keras), "tf_keras": honest(tf_keras)}
    # What an import of `tinsmith_payload` runs.
    code = f"open({str(folder / MARKER)!r}, 'w').write('written')\n"
    (folder / "tinsmith_payload.py").write_text(code)
    for number, hostile in enumerate(CONFIGURATIONS):
        for suffix in hostile.suffixes:
            path = folder / hostile.library / f"{number}{suffix}"
            path.parent.mkdir(exist_ok=True)
            write(models[hostile.library], path, partial(_edited, hostile, folder))
            yield hostile, path


def _weights(path: Path, edit: Callable[[Any, Path], None], elsewhere: Path) -> None:
    """Changes the weights of a file, wherever they are in it."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            edit(file, elsewhere)
        return
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    data = BytesIO(parts["model.weights.h5"])
    with h5py.File(data, "r+") as file:
        edit(file, elsewhere)
    parts["model.weights.h5"] = data.getvalue()
    with zipfile.ZipFile(path, "w") as new:
        for name, content in parts.items():
            new.writestr(name, content)


def _arrays(file: Any) -> str:
    """The name of an array of weights in a file."""
    found: list[str] = []
    file.visititems(
        lambda name, part: found.append(name) if isinstance(part, h5py.Dataset) else None
    )
    return max(found, key=lambda name: file[name].size)


def _instead(build: Callable[[Any, str, Path], Any]) -> Callable[[Any, Path], None]:
    """Puts something else in the place of an array."""

    def edit(file: Any, elsewhere: Path) -> None:
        name = _arrays(file)
        shape = file[name].shape
        del file[name]
        build(file, name, elsewhere)
        assert shape

    return edit


def _virtual(file: Any, name: str, elsewhere: Path) -> None:
    layout = h5py.VirtualLayout((4, 4), np.float32)
    layout[:] = h5py.VirtualSource(str(elsewhere), "x", (4, 4))
    file.create_virtual_dataset(name, layout)


def _external(file: Any, name: str, elsewhere: Path) -> None:
    file.create_dataset(name, (4, 4), np.float32, external=[(str(elsewhere), 0, 64)])


def _link(kind: Callable[[Path], Any]) -> Callable[[Any, str, Path], Any]:
    return lambda file, name, elsewhere: file.__setitem__(name, kind(elsewhere))


WEIGHTS: dict[str, tuple[Callable[[Any, Path], None], str]] = {
    "storage elsewhere": (_instead(_external), "lie in another file"),
    "an array made of others": (_instead(_virtual), "lie in another file"),
    "a link to another file": (
        _instead(_link(lambda path: h5py.ExternalLink(str(path), "x"))),
        "are a link",
    ),
    "a link in the file": (_instead(_link(lambda _: h5py.SoftLink("/nowhere"))), "are a link"),
    "64 GiB that are not stored": (
        _instead(lambda file, name, _: file.create_dataset(name, (1 << 34,), np.float32)),
        "asks for",
    ),
    "64 GiB of packed zeros": (
        _instead(
            lambda file, name, _: file.create_dataset(
                name, (1 << 34,), np.float32, chunks=(1 << 20,), compression="gzip"
            )
        ),
        "asks for",
    ),
    "objects": (
        _instead(lambda file, name, _: file.create_dataset(name, (2,), h5py.ref_dtype)),
        "not an array of numbers",
    ),
}


def damaged(folder: Path) -> Iterator[tuple[str, Path, str]]:
    """Writes every file whose weights or whose zip are hostile, with part of the error."""
    import keras
    import tf_keras

    folder.mkdir()
    elsewhere = folder / "elsewhere.bin"
    elsewhere.write_bytes(bytes(64))
    for library in (keras, tf_keras):
        for suffix in (".keras", ".h5"):
            plain = folder / f"{library.__name__}{suffix}"
            honest(library).save(plain)
            for name, (edit, said) in WEIGHTS.items():
                path = folder / f"{library.__name__} {name}{suffix}"
                shutil.copy(plain, path)
                _weights(path, edit, elsewhere)
                yield name, path, said
    plain = folder / "keras.keras"
    with zipfile.ZipFile(plain) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    bomb = b'"' + b" " * (65 << 20) + b'"'
    for name, extra, packed in (
        ("assets", {"assets/../../evil.txt": b"x"}, zipfile.ZIP_STORED),
        ("pickles", {"model.weights.npz": b"x"}, zipfile.ZIP_STORED),
        ("a bomb", {"config.json": bomb}, zipfile.ZIP_DEFLATED),
        ("nested lists", {"config.json": b"[" * 100_000}, zipfile.ZIP_STORED),
        ("a list", {"config.json": b"[1]"}, zipfile.ZIP_STORED),
        ("no version", {"metadata.json": b"[]"}, zipfile.ZIP_STORED),
        ("packed oddly", {"metadata.json": b"{}"}, zipfile.ZIP_LZMA),
    ):
        path = folder / f"{name}.keras"
        with zipfile.ZipFile(path, "w", packed) as new:
            for part, content in (parts | extra).items():
                new.writestr(part, content)
        yield name, path, "expected|configuration|keras_version|Keras cannot|odd way|asks for"
    twice = folder / "twice.keras"
    shutil.copy(plain, twice)
    import warnings

    with zipfile.ZipFile(twice, "a") as new, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        new.writestr("config.json", parts["config.json"])
    yield "a part twice", twice, "expected the parts"
    pipe = folder / "pipe.h5"
    os.mkfifo(pipe)
    yield "a pipe", pipe, "expected a file, found a pipe"
    device = folder / "device.h5"
    device.symlink_to("/dev/zero")
    yield "a device", device, "expected a file, found a device"
    holes = folder / "holes.h5"
    with holes.open("wb") as file:
        file.truncate(64 << 30)
    yield "64 GiB of holes", holes, "expected at most"


def _graph(change: Callable[[Any], None]) -> Callable[[Any, Path], None]:
    return lambda folder, _: _change_graph(folder, change)


def _change_graph(folder: Path, change: Callable[[Any], None]) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    document = saved_model_pb2.SavedModel()
    document.ParseFromString((folder / "saved_model.pb").read_bytes())
    change(document.meta_graphs[0])
    (folder / "saved_model.pb").write_bytes(document.SerializeToString())


def _const(graph: Any, name: str, value: Any) -> Any:
    import tensorflow as tf

    tensor = tf.make_tensor_proto(value)
    node = graph.graph_def.node.add(name=name, op="Const")
    node.attr["dtype"].type = tensor.dtype
    node.attr["value"].tensor.CopyFrom(tensor)
    return node


def _end(graph: Any, name: str) -> None:
    """Makes an operator's output the model's."""
    (output,) = graph.signature_def["serving_default"].outputs.values()
    output.name = f"{name}:0"


def _operation(kind: str, *inputs: Any) -> Callable[[Any], None]:
    """An operator on constants, whose output is the model's."""

    def change(graph: Any) -> None:
        names = [f"evil/in{place}" for place in range(len(inputs))]
        for name, value in zip(names, inputs, strict=True):
            _const(graph, name, value)
        graph.graph_def.node.add(name="evil/operator", op=kind, input=names)
        _end(graph, "evil/operator")

    return change


def _huge_constant(graph: Any) -> None:
    node = _const(graph, "evil/constant", np.float32(1))
    for _ in range(2):
        node.attr["value"].tensor.tensor_shape.dim.add(size=1 << 17)
    _end(graph, "evil/constant")


def _calling(count: int, again: bool) -> Callable[[Any], None]:
    """Functions of which each calls the next twice; the last may call the first."""

    def change(graph: Any) -> None:
        for number in range(count):
            function = graph.graph_def.library.function.add()
            function.signature.name = f"evil{number}"
            following = number + 1 if number + 1 < count else 0 if again else None
            for place in range(2 if following is not None else 0):
                node = function.node_def.add(name=f"call{place}", op="PartitionedCall")
                node.attr["f"].func.name = f"evil{following}"
        graph.graph_def.node.add(name="evil/call", op="PartitionedCall").attr[
            "f"
        ].func.name = "evil0"
        graph.graph_def.node[-1].attr["Tout"].list.type.append(1)
        _end(graph, "evil/call")

    return change


def _moved(folder: Path, elsewhere: Path) -> None:
    (shard,) = (folder / "variables").glob("variables.data-*")
    shutil.move(shard, elsewhere)
    shard.symlink_to(elsewhere)


def _cut(folder: Path, elsewhere: Path) -> None:
    (shard,) = (folder / "variables").glob("variables.data-*")
    with shard.open("r+b") as file:
        file.truncate(64)


def _linked(folder: Path, elsewhere: Path) -> None:
    shutil.move(folder / "saved_model.pb", elsewhere)
    (folder / "saved_model.pb").symlink_to(elsewhere)


FOLDERS: dict[str, tuple[Callable[[Any, Path], None], str]] = {
    "writes a file": (_graph(_operation("WriteFile", "MARKER", "written")), "`evil`.*WriteFile"),
    "reads a file": (_graph(_operation("ReadFile", "/etc/hostname")), "`evil`.*ReadFile"),
    "runs Python": (_graph(_operation("PyFunc", "x")), "`evil`.*PyFunc"),
    "loops": (_graph(_operation("While", 1)), "`evil`.*While"),
    "64 GiB filled": (
        _graph(_operation("Fill", np.array([1 << 17, 1 << 17]), np.float32(1))),
        "`evil/operator`.*asks for",
    ),
    "64 GiB tiled": (
        _graph(_operation("Tile", np.array([1], np.float32), np.array([1 << 34]))),
        "`evil/operator`.*asks for",
    ),
    "64 GiB in a row": (
        _graph(_operation("Range", np.int64(0), np.int64(1 << 34), np.int64(1))),
        "`evil/operator`.*asks for",
    ),
    "64 GiB of one value": (_graph(_huge_constant), "`evil/constant`.*not stored"),
    "a function that calls itself": (_graph(_calling(3, True)), "calls itself"),
    "functions called twice, 40 deep": (_graph(_calling(40, False)), "call each other"),
    "weights that are a link": (_moved, "found a link"),
    "a graph that is a link": (_linked, "found a link"),
    "weights that are not stored": (_cut, "cannot be read"),
}


def folders(folder: Path) -> Iterator[tuple[str, Path, str]]:
    """Writes every SavedModel that is hostile, with part of the error."""
    import tf_keras

    folder.mkdir()
    source = tf_keras.Input(SHAPE)
    x = tf_keras.layers.Flatten()(source)
    plain = folder / "plain"
    tf_keras.Model(source, tf_keras.layers.Dense(3, name="last")(x)).save(plain, save_format="tf")
    for name, (edit, said) in FOLDERS.items():
        path = folder / name.replace(" ", "_")
        shutil.copytree(plain, path)
        edit(path, folder / f"{path.name}.elsewhere")
        yield name, path, said


_UNGUARDED = """
import sys
sys.path.insert(0, sys.argv[1])
import tf_keras
try:
    tf_keras.models.load_model(sys.argv[2], compile=False, safe_mode=True)
except Exception as error:
    print(error)
"""


def runs_unguarded(path: Path, folder: Path) -> bool:
    """Whether tf_keras alone runs a file's payload, in its safe mode, in a process of its own."""
    (folder / MARKER).unlink(missing_ok=True)
    command = [sys.executable, "-c", _UNGUARDED, str(folder), str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    found = (folder / MARKER).exists()
    (folder / MARKER).unlink(missing_ok=True)
    return found


def main() -> None:
    from tinsmith_export.frontend.load import load_keras
    from tinsmith_runtime.errors import TinsmithError

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--live", action="store_true", help="run the payloads with Keras alone")
    live = options.parse_args().live
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sys.path.insert(0, name)
        files = [
            *((f"{one.library}: {one.name}", path, one) for one, path in configurations(folder)),
            *((title, path, None) for title, path, _ in damaged(folder / "damaged")),
            *((title, path, None) for title, path, _ in folders(folder / "folders")),
        ]
        loaded = odd = 0
        for title, path, _ in files:
            try:
                load_keras(path)
                loaded += 1
                print(f"{title}{path.suffix}: LOADED")
            except TinsmithError as error:
                print(f"{title}{path.suffix}: {error}".replace(name, ""))
            except Exception as error:
                odd += 1
                print(f"{title}{path.suffix}: {type(error).__name__} {error}")
        ran = int((folder / MARKER).exists())
        print(f"{len(files)} hostile model files, {ran} payloads run, {loaded} loaded, {odd} odd")
        if live:
            able = [(title, path) for title, path, one in files if one is not None and one.live]
            count = 0
            for title, path in able:
                runs = runs_unguarded(path, folder)
                count += runs
                print(
                    f"{title}{path.suffix}: {'runs' if runs else 'DOES NOT RUN'} in tf_keras alone"
                )
            print(f"{count} of {len(able)} payloads run where tf_keras alone loads them")
        sys.exit(bool(ran or loaded or odd))


if __name__ == "__main__":
    main()
