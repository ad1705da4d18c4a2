"""From a float graph to the fake-quantized model that gets converted: calibrate, round, QAT."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import tf_keras

from tinsmith_export.ir.bits import FLOAT_BITS
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Weighted
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.passes.convolutions import convolution_by_dense
from tinsmith_export.quantize.calibration import calibrate
from tinsmith_export.quantize.fake_quantization import (
    choose_weight_bits,
    fake_quantize,
    trained_graph,
)
from tinsmith_export.quantize.qat import DistillationData, Report, distill
from tinsmith_export.quantize.ranges import share_ranges
from tinsmith_export.quantize.separate import separate
from tinsmith_export.results import Checkpoint
from tinsmith_runtime.batch import rows
from tinsmith_runtime.errors import UsageError

_CALIBRATION_COUNT = 2000


@dataclass(frozen=True)
class Quantized:
    """The model that computes in float what the integer engines will.

    Attributes:
        graph: its layers, with their weights before rounding.
        model: to convert.
        ranges: the quantization parameters of each layer's output, by its name.
        weight_bits: layer name to how many bits its weights have; see `ir.bits`.
        checkpoints: of the fine-tuning; the first is post-training quantization.
    """

    graph: Graph
    model: tf_keras.Model
    ranges: Mapping[str, QuantParams]
    weight_bits: Mapping[str, int]
    checkpoints: tuple[Checkpoint, ...]

    @property
    def kept(self) -> tuple[Weighted, ...]:
        """The layers that are kept float."""
        bits = self.weight_bits
        return tuple(node for node in self.graph.weighted if bits[node.name] == FLOAT_BITS)

    def keeping(self, more: Sequence[str]) -> "Quantized":
        """The same with more layers kept float."""
        bits = {**self.weight_bits, **dict.fromkeys(more, FLOAT_BITS)}
        model = fake_quantize(self.graph, self.ranges, bits)
        return replace(self, model=model, weight_bits=bits)


def quantize(
    graph: Graph,
    sources: Mapping[str, QuantParams],
    data: DistillationData,
    held_back: DistillationData,
    steps: int,
    seed: int,
    report: Report,
    keep: Sequence[str] = (),
) -> Quantized:
    """Quantizes a graph and fine-tunes it.

    Args:
        graph: a rewritten graph.
        sources: the quantization parameters of each input, by its name.
        data: what to calibrate and to fine-tune on.
        held_back: what to choose the checkpoint on.
        steps: of fine-tuning; 0 is post-training quantization.
        seed: of the order of the inputs.
        report: hears of the fine-tuning.
        keep: the layers that stay float; a Keras layer's name means all its parts.

    Raises:
        UsageError: no layer has such a name.
    """
    seen = rows(data.inputs, slice(_CALIBRATION_COUNT))
    graph, observed = separate(graph, calibrate(graph, seen), sources)
    floats = dict.fromkeys(_find(graph, keep), FLOAT_BITS)
    ranges = share_ranges(graph, observed, sources)
    bits = choose_weight_bits(graph) | floats
    model = fake_quantize(convolution_by_dense(graph) if steps else graph, ranges, bits)
    checkpoints = distill(model, data, held_back, steps, seed, report)
    if steps:
        graph = trained_graph(graph, model)
        # Weights that moved can make an 8-bit layer one that could saturate.
        now = choose_weight_bits(graph)
        bits = {name: min(bits[name], now[name]) for name in now} | floats
        model = fake_quantize(graph, ranges, bits)
    return Quantized(graph, model, ranges, bits, tuple(checkpoints))


def _find(graph: Graph, keep: Sequence[str]) -> list[str]:
    """The layers that multiply by weights of those names."""
    known = [node.name for node in graph.weighted]
    found: list[str] = []
    for name in keep:
        parts = [one for one in known if f"{one}/".startswith(f"{name}/")]
        if not parts:
            raise UsageError(
                f"--keep-float {name}: no such layer with weights; expected auto or one of "
                f"{', '.join(known)}"
            )
        found += parts
    return found
