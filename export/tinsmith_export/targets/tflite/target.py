"""TFLite as a target."""

from collections import Counter
from collections.abc import Collection, Mapping

from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_export.errors import ConversionError
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.quantization import QuantGraph
from tinsmith_export.targets.target import Estimate, FloatModel, IntegerModel, Target
from tinsmith_export.targets.tflite.convert import (
    PRODUCTS,
    layer_tensors,
    matrix_products,
    packed,
    products,
    to_float_tflite,
    with_names,
)
from tinsmith_export.targets.tflite.estimate import estimate
from tinsmith_export.targets.tflite.outputs import run_outputs
from tinsmith_runtime.batch import Array, Arrays


class TfliteTarget(Target):
    """TFLite files, which LiteRT runs."""

    name = "tflite"
    title = "TFLite"
    packages = ("ai-edge-litert",)

    def emit(self, model: IntegerModel) -> bytes:
        """See `Target.emit`."""
        inputs = [source.name for source in model.inputs]
        return with_names(model.converted, inputs, [output.name for output in model.outputs])

    def emit_float(self, model: FloatModel) -> bytes:
        """See `Target.emit_float`."""
        return with_names(to_float_tflite(model.reference), model.inputs, model.outputs)

    def estimate(self, model: QuantGraph, graph: Graph) -> Estimate:
        """See `Target.estimate`: the converter is not asked, so the sizes are about right."""
        return estimate(model, graph)

    def integer_kernels(
        self, data: bytes, products: int, kept: Collection[str] = ()
    ) -> Mapping[str, int]:
        """See `Target.integer_kernels`; LiteRT takes the kernel that a file's types say."""
        return _integer_kernels(data, products, kept)

    def layer_tensors(self, data: bytes, graph: Graph) -> Mapping[str, str]:
        """See `Target.layer_tensors`: those of codes."""
        model = schema.ModelT.InitFromPackedBuf(data, 0)
        (subgraph,) = model.subgraphs
        return {
            subgraph.tensors[index].name.decode(): layer
            for layer, indices in layer_tensors(model, graph).items()
            for index in indices
            if layer
        }

    def layer_outputs(self, data: bytes, graph: Graph, codes: Arrays) -> Mapping[str, Array]:
        """See `Target.layer_outputs`: what a layer's last operator gives."""
        found = run_outputs(_with_all_outputs(data, graph), codes)
        return {layer: found[name] for name, layer in self.layer_tensors(data, graph).items()}


def _integer_kernels(data: bytes, expected: int, kept: Collection[str]) -> dict[str, int]:
    found = [product for product in products(data) if product.operator in PRODUCTS]
    floats = {product.layer for product in found if not product.integer}
    if left := floats - set(kept):
        raise ConversionError(f"TFLite still multiplies in float: {', '.join(sorted(left))}")
    if rounded := set(kept) - floats:
        raise ConversionError(f"TFLite rounds layers kept float: {', '.join(sorted(rounded))}")
    kernels = Counter(product.operator for product in found if product.integer)
    kernels["BATCH_MATMUL"] += sum(matrix_products(data).values())
    if kernels.total() != expected - len(kept):
        raise ConversionError(
            f"TFLite: expected {expected - len(kept)} integer products, found {dict(kernels)}"
        )
    return dict(+kernels)


def _with_all_outputs(data: bytes, graph: Graph) -> bytes:
    """Makes all codes that an operator gives an output."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    (subgraph,) = model.subgraphs
    layers = layer_tensors(model, graph)
    outputs = {index for indices in layers.values() for index in indices}
    subgraph.outputs, model.signatureDefs = sorted(outputs), []
    return packed(model, len(data))
