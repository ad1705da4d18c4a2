"""Parity: whether TFLite and ONNX give the same codes, and the first layer that does not."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import LayerNormalization, Node, Reshape
from tinsmith_export.metrics import parity
from tinsmith_export.outputs import side_by_side
from tinsmith_export.targets.tflite import layer_of, packed
from tinsmith_export.verify.engines import run_batches, start_engine
from tinsmith_runtime.backends import litert, ort, signed, unsigned
from tinsmith_runtime.batch import Arrays, count, each, joined, rows
from tinsmith_runtime.bundle import Parity

_COUNT = 16
_RANDOM_COUNT = 64


def compare(
    files: Mapping[str, bytes],
    graph: Graph,
    codes: Arrays,
    outputs: Mapping[str, Arrays],
    classes: bool,
) -> Parity:
    """Compares the outputs of the two int8 files, and looks for where a difference enters.

    Args:
        files: name to bytes.
        graph: what they were made of.
        codes: inputs, `int8 (N, …)`, as many as the graph has.
        outputs: name to what a file gave for them.
        classes: whether the one output is logits of classes.
    """
    here, there = (side_by_side(outputs[f"model.int8.{form}"]) for form in ("onnx", "tflite"))
    differ = (there != here).reshape(len(here), -1).any(axis=1)
    pair = files["model.int8.tflite"], files["model.int8.onnx"]
    layer, lsb = first_difference(*pair, graph, codes, differ)
    return replace(parity(there, here, classes), enters_at=layer, enters_lsb=lsb)


def compare_on_random_codes(
    files: Mapping[str, bytes], graph: Graph, seed: int, classes: bool
) -> Parity:
    """Compares the two int8 files on codes that no image has; see `compare`."""
    rng = np.random.default_rng(seed)
    codes = joined(
        [rng.integers(-128, 128, (_RANDOM_COUNT, *node.shape), np.int8) for node in graph.inputs]
    )
    outputs = {
        file: run_batches(start_engine(file, files[file]), codes)
        for file in ("model.int8.tflite", "model.int8.onnx")
    }
    return compare(files, graph, codes, outputs, classes)


def first_difference(
    tflite: bytes,
    onnx_model: bytes,
    graph: Graph,
    codes: Arrays,
    differ: NDArray[np.bool_],
) -> tuple[str | None, int | None]:
    """Finds the layer where a difference between two int8 files enters.

    Both files are made to give every layer's output, and run on their engines: integers are not
    computed otherwise when more of them are looked at.

    Args:
        tflite: an int8 file.
        onnx_model: an int8 file.
        graph: what both were made of.
        codes: inputs, `int8 (N, …)`, as many as the graph has.
        differ: on which of them the outputs differ, `bool (N,)`; the first few are looked at.

    Returns:
        The first layer, in the order of computation, whose codes differ, and by how many LSB at
        most; `None` if none does.
    """
    chosen = rows(codes, np.flatnonzero(differ)[:_COUNT])
    if not count(chosen):
        return None, None
    owners = _owners(graph)
    found = litert.run_outputs(_open_tflite(tflite), chosen)
    there = {owners.get(name, layer_of(name)): values for name, values in found.items()}
    found = ort.run_outputs(_open_onnx(onnx_model, graph), each(unsigned, chosen))
    here = {owners[name]: values for name, values in found.items() if name in owners}
    for node in graph.layers:
        output = f"{node.name}.output"
        if output in found:
            here[node.name] = _channels_last(node, found[output])
        if node.name not in there or node.name not in here:
            continue
        other = signed(here[node.name]).reshape(there[node.name].shape)
        lsb = np.abs(there[node.name].astype(np.int16) - other).max()
        if lsb:
            return node.name, int(lsb)
    return None, None


def _owners(graph: Graph) -> dict[str, str]:
    """The layer that computes each output, by the output's name."""
    owners = {}
    for output in graph.outputs:
        last = graph.node(output.inputs[0])
        while isinstance(last, Reshape):  # a view of what the layer before gives
            last = graph.node(last.inputs[0])
        owners[output.title] = last.name
    return owners


def _channels_last(node: Node, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # These two have them last inside the ONNX file too.
    last = isinstance(node, Reshape | LayerNormalization) or values.ndim != 4
    return values if last else values.transpose(0, 2, 3, 1)


def _open_tflite(data: bytes) -> bytes:
    """Makes each layer's codes an output, those of its last operator."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]
    outputs = {}
    for operator in graph.operators:
        for index in operator.outputs:
            if graph.tensors[index].type == schema.TensorType.INT8:
                outputs[layer_of(graph.tensors[index].name.decode())] = index
    graph.outputs = sorted({*graph.outputs, *outputs.values()})
    model.signatureDefs = []
    return packed(model, len(data))


def _open_onnx(data: bytes, graph: Graph) -> bytes:
    model = onnx.load_from_string(data)
    computed = {name for call in model.graph.node for name in call.output}
    for node in graph.nodes:
        name = f"{node.name}.output"
        if name in computed:
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.UINT8, None))
    return bytes(model.SerializeToString())
