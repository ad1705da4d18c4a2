"""The third stage: the quantized graph becomes model files, whose kernels are looked at."""

from collections.abc import Mapping
from dataclasses import dataclass

from tinsmith_export.pipeline.quantizing import QuantizedModel
from tinsmith_export.progress import Progress
from tinsmith_export.targets.convert import convert, convert_floats
from tinsmith_export.verify.proof import require_integer_kernels, require_no_saturation
from tinsmith_runtime.bundle import Output


@dataclass(frozen=True, eq=False)
class ConvertedModel:
    """The model files.

    Attributes:
        model: what they were made of.
        files: name to bytes.
        outputs: what the int8 files' outputs mean.
        kernels: the integer kernels of ONNX Runtime's own graph, counted.
    """

    model: QuantizedModel
    files: Mapping[str, bytes]
    outputs: tuple[Output, ...]
    kernels: Mapping[str, int]


def convert_model(model: QuantizedModel, progress: Progress) -> ConvertedModel:
    """Writes the model files.

    Raises:
        ConversionError: a product is not computed on integers, or could overflow.
    """
    progress.stage("converting to TFLite and ONNX")
    read, quantized = model.read, model.quantized
    classes, sources = read.classes, read.entry.sources
    labels = read.samples.class_names(read.graph.outputs[0].shape[-1]) if classes else ()
    converted = convert(quantized, sources, labels, classes)
    files = converted.files | convert_floats(read.graph, read.reference, sources)
    kept = [node.name for node in quantized.kept]
    products = len(quantized.graph.weighted)
    kernels = require_integer_kernels(files["model.int8.onnx"], products, kept)
    require_no_saturation(converted.products)
    return ConvertedModel(model, files, converted.outputs, kernels)
