"""From the graph to an ONNX file, int8 or float."""

from collections.abc import Mapping, Sequence

from tinsmith_export.ir.graph import Graph
from tinsmith_export.targets.onnx.integer_writer import IntegerWriter
from tinsmith_export.targets.onnx.operators import write
from tinsmith_export.targets.onnx.writer import FloatWriter
from tinsmith_export.targets.target import IntegerModel
from tinsmith_runtime.batch import numbered
from tinsmith_runtime.bundle import Input, Output


def to_onnx(graph: Graph, inputs: Sequence[str]) -> bytes:
    """Writes a float model.

    Args:
        graph: a rewritten graph.
        inputs: the names of its inputs.
    """
    return written(FloatWriter(graph), inputs, {})


def to_int8_onnx(model: IntegerModel) -> bytes:
    """Writes an int8 model.

    Scales and zero points of its inputs and outputs go into the file's metadata, from where the
    runtime checks them.
    """
    metadata = {}
    tensors: dict[str, Sequence[Input | Output]] = {"input": model.inputs, "output": model.outputs}
    for side, found in tensors.items():
        for key, tensor in zip(numbered(side, len(found)), found, strict=True):
            metadata[f"{key}_scale"] = repr(tensor.scale)
            metadata[f"{key}_zero_point"] = str(tensor.zero_point)
    names = [source.name for source in model.inputs]
    writer = IntegerWriter(model.quantized.graph, model.quantized.ranges, model.products)
    return written(writer, names, metadata)


def written(writer: FloatWriter, inputs: Sequence[str], metadata: Mapping[str, str]) -> bytes:
    """Writes the graph of a writer.

    Args:
        writer: float or integer, with nothing written yet.
        inputs: the names of the graph's inputs.
        metadata: of the file.
    """
    writer.begin(inputs)
    for node in writer.graph.layers:
        writer.tensors[node.name] = write(node, writer)
    return writer.save(metadata)
