"""From the graph to an ONNX file, int8 or float."""

from collections.abc import Mapping, Sequence

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.targets.onnx.operators import write
from tinsmith_export.targets.onnx.writer import FloatWriter, IntegerWriter
from tinsmith_export.targets.tflite import Product
from tinsmith_runtime.batch import numbered
from tinsmith_runtime.bundle import Input, Output


def to_onnx(graph: Graph, inputs: Sequence[str]) -> bytes:
    """Writes a float model.

    Args:
        graph: a rewritten graph.
        inputs: the names of its inputs.
    """
    return _written(FloatWriter(graph), inputs, {})


def to_int8_onnx(
    graph: Graph,
    ranges: Mapping[str, QuantParams],
    products: Mapping[str, Product],
    sources: Sequence[Input],
    targets: Sequence[Output],
) -> bytes:
    """Writes an int8 model.

    Args:
        graph: the graph that was quantized.
        ranges: from `share_ranges`.
        products: layer name to what the TFLite file holds of it.
        sources: the model's inputs; scale and zero point go into the file's metadata, from where
            the runtime checks them.
        targets: the model's outputs, likewise.
    """
    metadata = {}
    tensors: dict[str, Sequence[Input | Output]] = {"input": sources, "output": targets}
    for side, found in tensors.items():
        for key, tensor in zip(numbered(side, len(found)), found, strict=True):
            metadata[f"{key}_scale"] = repr(tensor.scale)
            metadata[f"{key}_zero_point"] = str(tensor.zero_point)
    names = [source.name for source in sources]
    return _written(IntegerWriter(graph, ranges, products), names, metadata)


def _written(writer: FloatWriter, inputs: Sequence[str], metadata: Mapping[str, str]) -> bytes:
    writer.begin(inputs)
    for node in writer.graph.layers:
        writer.tensors[node.name] = write(node, writer)
    return writer.save(metadata)
