"""The third stage: the quantized graph becomes model files, whose kernels are looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinsmith_data.interrupts import held_interrupts
from tinsmith_export.errors import TargetError
from tinsmith_export.heap import give_back_memory
from tinsmith_export.ir.bits import WEIGHT_BITS
from tinsmith_export.options import Options
from tinsmith_export.pipeline.quantizing import QuantizedModel
from tinsmith_export.progress import Progress
from tinsmith_export.targets.lower import lower, state_inputs
from tinsmith_export.targets.target import FloatModel, IntegerModel, ModelFile, Target
from tinsmith_export.verdict import listed
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
        left_out: why targets are missing that nobody asked for by name, a line each.
    """

    model: QuantizedModel
    integers: IntegerModel
    int8: tuple[ModelFile, ...]
    floats: tuple[ModelFile, ...]
    kernels: Mapping[str, Mapping[str, int]]
    left_out: tuple[str, ...]

    @property
    def targets(self) -> tuple[Target, ...]:
        """What there is an int8 file for, the reference first."""
        return tuple(file.target for file in self.int8)

    @property
    def tensors(self) -> dict[str, str]:
        """What operators give in the int8 files that tell: tensor name to the layer's name."""
        graph = self.model.quantized.graph
        files = [file.target.layer_tensors(file.data, graph) for file in self.int8]
        return {tensor: layer for found in files for tensor, layer in found.items()}

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """All files."""
        return (*self.int8, *self.floats)


@held_interrupts()
def convert_model(
    model: QuantizedModel, targets: Sequence[Target], options: Options, progress: Progress
) -> ConvertedModel:
    """Writes the model files.

    Raises:
        ConversionError: a product is not computed on integers, or could overflow, or a sum or
            product of two tensors could be rounded otherwise in another engine.
        TargetError: a target that `options` name cannot hold the model; others are left out.
    """
    require_exact_pairs(model.quantized.graph, model.quantized.ranges)
    progress.stage(f"converting to {listed([target.title for target in targets])}")
    read, quantized = model.read, model.quantized
    classes, sources = read.classes, (*read.entry.sources, *state_inputs(quantized))
    labels = read.samples.class_names(read.graph.answers[0].shape[-1]) if classes else ()
    integers = lower(quantized, sources, labels, classes)
    if options.weight_bits < WEIGHT_BITS:
        require_no_saturation(integers.products.values())
    int8, left_out = int8_files(integers, targets, may_leave_out=options.targets is None)
    exact = FloatModel(read.graph, read.reference, tuple(source.name for source in sources))
    floats = tuple(
        ModelFile(file.target, "float", file.target.emit_float(exact))
        for file in int8
        if file.target.has_float
    )
    give_back_memory()
    kernels = {}
    for file in int8:
        require_same_tensors(file, integers.inputs, integers.outputs)
        products = len(quantized.graph.products)
        kernels[file.target.name] = file.target.integer_kernels(file.data, products, integers.kept)
    return ConvertedModel(model, integers, int8, floats, kernels, left_out)


def int8_files(
    model: IntegerModel, targets: Sequence[Target], may_leave_out: bool
) -> tuple[tuple[ModelFile, ...], tuple[str, ...]]:
    """The file of each target, and why there is none for some."""
    files, left_out = [], []
    for target in targets:
        try:
            files.append(ModelFile(target, "int8", target.emit(model)))
        except TargetError as error:
            if not may_leave_out:
                raise
            left_out.append(f"no file for {target.title}: {error}")
    return tuple(files), tuple(left_out)
