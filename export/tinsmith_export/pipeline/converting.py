"""The third stage: the quantized graph becomes model files, whose kernels are looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinsmith_export.ir.bits import WEIGHT_BITS
from tinsmith_export.options import Options
from tinsmith_export.pipeline.quantizing import QuantizedModel
from tinsmith_export.progress import Progress
from tinsmith_export.targets.lower import lower
from tinsmith_export.targets.target import FloatModel, IntegerModel, ModelFile, Target
from tinsmith_export.verify.engines import require_same_tensors
from tinsmith_export.verify.pairs import require_exact_pairs
from tinsmith_export.verify.saturation import require_no_saturation


@dataclass(frozen=True, eq=False)
class ConvertedModel:
    """The model files.

    Attributes:
        model: what they were made of.
        integers: the weights that the int8 files carry.
        int8: a file a target, the reference first.
        floats: likewise.
        kernels: the integer kernels of each target's engine, counted, by the target's name.
    """

    model: QuantizedModel
    integers: IntegerModel
    int8: tuple[ModelFile, ...]
    floats: tuple[ModelFile, ...]
    kernels: Mapping[str, Mapping[str, int]]

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """All files."""
        return (*self.int8, *self.floats)


def convert_model(
    model: QuantizedModel, targets: Sequence[Target], options: Options, progress: Progress
) -> ConvertedModel:
    """Writes the model files.

    Raises:
        ConversionError: a product is not computed on integers, or could overflow, or a sum or
            product of two tensors could be rounded otherwise in another engine.
    """
    require_exact_pairs(model.quantized.graph, model.quantized.ranges)
    progress.stage(f"converting to {' and '.join(target.title for target in targets)}")
    read, quantized = model.read, model.quantized
    classes, sources = read.classes, read.entry.sources
    labels = read.samples.class_names(read.graph.outputs[0].shape[-1]) if classes else ()
    integers = lower(quantized, sources, labels, classes)
    if options.weight_bits < WEIGHT_BITS:
        require_no_saturation(integers.products.values())
    int8 = tuple(ModelFile(target, "int8", target.emit(integers)) for target in targets)
    exact = FloatModel(read.graph, read.reference, tuple(source.name for source in sources))
    floats = tuple(
        ModelFile(target, "float", target.emit_float(exact))
        for target in targets
        if target.has_float
    )
    kernels = {}
    for file in int8:
        require_same_tensors(file, integers.inputs, integers.outputs)
        products = len(quantized.graph.weighted)
        kernels[file.target.name] = file.target.integer_kernels(file.data, products, integers.kept)
    return ConvertedModel(model, integers, int8, floats, kernels)
