"""SavedModel: a folder's serving signature, read as data.

`tf.saved_model.load` runs whatever initializers and restore functions a folder carries. Here the
graph is read first, and refused if it holds an operator that tinsmith does not know; then its
weights are read from the checkpoint by name. Nothing else of the folder is looked at.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorflow.core.protobuf import saved_model_pb2, trackable_object_graph_pb2

from tinsmith_data.quiet import silence
from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.frontend.container import MAX_BYTES
from tinsmith_export.frontend.graphdef import check_graph
from tinsmith_runtime.errors import TinsmithError
from tinsmith_runtime.files import read_regular

FILE = "saved_model.pb"
_SIGNATURE = "serving_default"
_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
_LOOPS = ("StatelessWhile", "TensorList", "While")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
# What lies between layers: weights, constants and sizes. None of it reaches out of the graph.
_PLUMBING = (
    *("Const", "NoOp", "Placeholder", "ReadVariableOp", "VarHandleOp", *_CALLS),
    *("BroadcastTo", "ConcatV2", "Fill", "GatherV2", "Pack", "Prod", "Range", "Shape", "Sqrt"),
    *("Reciprocal", "Size", "Tile"),
)


@dataclass(frozen=True, eq=False)
class SavedModel:
    """The serving signature of a SavedModel folder, with the face of a Keras model.

    Attributes:
        name: of the folder.
        graph: a `GraphDef`, known operators alone.
        inputs: `float32 (None, …)` each, in the order of their names.
        tensors: the names of their tensors.
        outputs: the names of the outputs, in order, each with its tensor's.
        variables: the value of every weight by the name of its handle.
    """

    name: str
    graph: Any
    inputs: tuple[Any, ...]
    tensors: tuple[str, ...]
    outputs: Mapping[str, str]
    variables: Mapping[str, NDArray[Any]]

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the outputs, as a Keras model has them."""
        return tuple(self.outputs)

    def function(self, shapes: Sequence[tuple[int | None, ...]]) -> Any:
        """A function of TensorFlow that computes the outputs for inputs of these shapes."""

        def call(*sources: Any) -> Any:
            graph, handles = sources[0].graph, {}
            for name, value in self.variables.items():
                variable = tf.Variable(value)
                graph.watch_variable(variable)  # as a read of it by Python would
                handles[f"{name}:0"] = graph.capture(variable.handle)
            return tf.import_graph_def(
                self.graph,
                input_map={**dict(zip(self.tensors, sources, strict=True)), **handles},
                return_elements=list(self.outputs.values()),
                name="",
            )

        specs = [tf.TensorSpec(shape, tf.float32, "input") for shape in shapes]
        return tf.compat.v1.wrap_function(call, specs)

    def predict(self, inputs: Any, batch_size: int = 64, verbose: int = 0) -> Any:
        """As a Keras model: `float32 (N, …)` to `float32 (N, …)`, lists where there are several."""
        arrays = inputs if isinstance(inputs, list) else [inputs]
        function = self.function([(None, *array.shape[1:]) for array in arrays])
        batches = []
        for start in range(0, len(arrays[0]), batch_size):
            batch = [tf.constant(array[start : start + batch_size]) for array in arrays]
            batches.append([output.numpy() for output in function(*batch)])
        found = [np.concatenate(each) for each in zip(*batches, strict=True)]
        return found if len(found) > 1 else found[0]


def load_saved_model(folder: Path, known: Set[str]) -> SavedModel:
    """Reads the serving signature of a folder that Keras or TensorFlow 2 saved.

    Args:
        folder: with `saved_model.pb` and `variables` in it.
        known: the operators that may be in it, besides weights, constants and sizes.

    Raises:
        UnsupportedLayerError: another operator is in it.
        TinsmithError: the folder is damaged, or has no signature with one float input.
    """
    document = saved_model_pb2.SavedModel()
    try:
        document.ParseFromString(read_regular(folder / FILE, MAX_BYTES, follow=False))
    except OSError as error:
        raise TinsmithError(f"{folder / FILE}: {error.strerror or error}") from error
    except DecodeError as error:
        raise TinsmithError(f"{folder}: {FILE} is damaged: save the model again") from error
    graphs = [graph for graph in document.meta_graphs if "serve" in graph.meta_info_def.tags]
    if not graphs or _SIGNATURE not in graphs[0].signature_def:
        found = sorted(key for graph in graphs for key in graph.signature_def if key[0] != "_")
        raise TinsmithError(
            f"{folder}: expected a signature {_SIGNATURE}, found {', '.join(found) or 'none'}: "
            "save it with model.export('FOLDER')"
        )
    signature = graphs[0].signature_def[_SIGNATURE]
    outputs = {key: info.name for key, info in sorted(signature.outputs.items())}
    inputs = sorted(signature.inputs.items())
    kinds = {key: tf.as_dtype(info.dtype).name for key, info in inputs}
    if set(kinds.values()) != {"float32"}:
        sources = ", ".join(f"{key} ({kind})" for key, kind in kinds.items())
        raise TinsmithError(f"{folder}: expected inputs of float32, got {sources or 'none'}")
    nodes = [name.rpartition(":")[0] for name in outputs.values()]
    _require_plain(folder)
    try:
        with silence():  # which calls a function of its own deprecated
            graph = tf.compat.v1.graph_util.extract_sub_graph(graphs[0].graph_def, nodes)
    except (AssertionError, KeyError) as error:
        raise TinsmithError(
            f"{folder}: its signature names no operator of its graph: {error}"
        ) from error
    variables = _read_variables(folder, graph, graphs[0].object_graph_def)
    _prune_functions(graph)
    _require_known(graph, {*known, *_PLUMBING})
    try:
        check_graph(graph)
    except TinsmithError as error:
        raise TinsmithError(f"{folder}: {error}") from error
    specs = tuple(
        tf.TensorSpec(tf.TensorShape(info.tensor_shape), tf.float32, key) for key, info in inputs
    )
    tensors = tuple(info.name for _, info in inputs)
    return SavedModel(folder.resolve().name, graph, specs, tensors, outputs, variables)


def _require_known(graph: Any, known: Set[str]) -> None:
    """Refuses a graph with another operator."""
    for node in _nodes(graph):
        if node.op not in known:
            layer = scope_of(node.name) or node.name
            cure = "take another layer there"
            if node.op.startswith(_LOOPS):
                cure = "of a recurrent layer give the .keras file, whose steps are unrolled"
            raise UnsupportedLayerError(
                f"layer `{layer}` cannot be compiled: it needs TensorFlow's operator {node.op}; "
                f"{cure} (docs/compiling.md lists those that compile)"
            )


def scope_of(operator: str) -> str:
    """The layer that an operator's name puts it in: its scopes, without those of calls."""
    return ".".join(part for part in operator.split("/")[:-1] if not part.startswith(_CALLS))


def _require_plain(folder: Path) -> None:
    """Refuses weights that are links: they may lie anywhere."""
    for path in (folder / "variables", *sorted((folder / "variables").glob("*"))):
        if path.is_symlink() or not (path.is_dir() or path.is_file() or not path.exists()):
            raise TinsmithError(
                f"{path}: expected a file of the model, found a link or a device: copy the folder "
                "with what its links name, cp -rL"
            )


def _stored(folder: Path) -> int:
    """The size in bytes of the weights' files."""
    return sum(path.stat().st_size for path in (folder / "variables").glob("variables.data-*"))


def _nodes(graph: Any) -> Iterator[Any]:
    """Every operator of a graph and of its functions."""
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _called(node: Any) -> Iterator[Any]:
    """The functions that an operator names, as its settings hold them."""
    for setting in node.attr.values():
        yield from (setting.func, *setting.list.func)


def _prune_functions(graph: Any) -> None:
    """Leaves the functions that the graph calls, under names that no other model has.

    TensorFlow refuses a second function of a name. The names say what the graph holds, so that the
    same model may be loaded twice.
    """
    functions = {function.signature.name: function for function in graph.library.function}
    waiting, used = list(graph.node), dict[str, Any]()
    while waiting:
        for called in _called(waiting.pop()):
            if called.name in functions and called.name not in used:
                used[called.name] = functions[called.name]
                waiting += functions[called.name].node_def
    kept = [used[name] for name in sorted(used)]
    graph.library.Clear()
    graph.library.function.extend(kept)
    tag = hashlib.sha256(graph.SerializeToString(deterministic=True)).hexdigest()[:16]
    for called in (called for node in _nodes(graph) for called in _called(node)):
        if called.name in used:
            called.name += f"_{tag}"
    for function in graph.library.function:
        function.signature.name += f"_{tag}"


def _read_variables(folder: Path, graph: Any, saved: Any) -> dict[str, NDArray[Any]]:
    """The weights that the signature's functions take, by the names of their handles.

    The functions say which object each weight is. A checkpoint numbers the objects in its own way,
    but both name the ways to them alike.
    """
    try:
        checkpoint = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
        stored = trackable_object_graph_pb2.TrackableObjectGraph()
        stored.ParseFromString(checkpoint.get_tensor(_OBJECTS))
        shapes, kinds = (
            checkpoint.get_variable_to_shape_map(),
            checkpoint.get_variable_to_dtype_map(),
        )
        left = _stored(folder)
        keys, waiting = {}, [(0, 0)]
        while waiting:
            number, twin = waiting.pop()
            keys[number] = [entry.checkpoint_key for entry in stored.nodes[twin].attributes]
            twins = {child.local_name: child.node_id for child in stored.nodes[twin].children}
            waiting += [
                (child.node_id, twins[child.local_name])
                for child in saved.nodes[number].children
                if child.local_name in twins and child.node_id not in keys
            ]
        found = {}
        for node in graph.node:
            if node.op in _CALLS:
                bound = saved.concrete_functions[node.attr["f"].func.name].bound_inputs
                names = [name for name in node.input if not name.startswith("^")]
                for name, number in zip(names[len(names) - len(bound) :], bound, strict=True):
                    if saved.nodes[number].WhichOneof("kind") == "variable":
                        key = keys[number][0]
                        left -= math.prod(shapes[key]) * kinds[key].size
                        if left < 0:
                            raise ValueError(f"`{key}` is larger than what is stored")
                        found[name] = checkpoint.get_tensor(key)
        missing = {node.name for node in graph.node if node.op == "VarHandleOp"} - found.keys()
        if missing:
            raise KeyError(min(missing))
    except (DecodeError, IndexError, KeyError, ValueError, tf.errors.OpError) as error:
        raise TinsmithError(
            f"{folder}: its weights cannot be read: {error}: save it with model.export('FOLDER')"
        ) from error
    return found
