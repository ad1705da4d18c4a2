"""From a float graph to the fake-quantized model that gets converted: calibrate, round, tune."""

from collections.abc import Mapping
from dataclasses import dataclass

import tf_keras

from tinsmith_export.calibration import calibrate
from tinsmith_export.exporting import Checkpoint
from tinsmith_export.graph import Graph
from tinsmith_export.quantize import choose_weight_bits, fake_quantize, tuned_graph
from tinsmith_export.ranges import Range, separate, share_ranges
from tinsmith_export.tune import Lesson, Report, tune

_CALIBRATION_COUNT = 2000


@dataclass(frozen=True)
class Quantized:
    """The model that computes in float what the integer engines will.

    Attributes:
        graph: its layers, with their weights before rounding.
        model: to convert.
        ranges: layer name to the grid of its output.
        weight_bits: layer name to 7 or 8.
        checkpoints: of the fine-tuning; the first is post-training quantization.
    """

    graph: Graph
    model: tf_keras.Model
    ranges: Mapping[str, Range]
    weight_bits: Mapping[str, int]
    checkpoints: tuple[Checkpoint, ...]


def quantize(
    graph: Graph,
    source: Range,
    lesson: Lesson,
    held_back: Lesson,
    steps: int,
    seed: int,
    report: Report,
) -> Quantized:
    """Quantizes a graph and fine-tunes it.

    Args:
        graph: a rewritten graph.
        source: the range of the input.
        lesson: what to calibrate and to fine-tune on.
        held_back: what to choose the checkpoint on.
        steps: of fine-tuning; 0 is post-training quantization.
        seed: of the order of the inputs.
        report: hears of the fine-tuning.
    """
    graph = separate(graph)
    ranges = share_ranges(graph, calibrate(graph, lesson.inputs[:_CALIBRATION_COUNT]), source)
    bits = choose_weight_bits(graph)
    model = fake_quantize(graph, ranges, bits)
    checkpoints = tune(model, lesson, held_back, steps, seed, report)
    if steps:
        graph = tuned_graph(graph, model)
        # Weights that moved can make an 8-bit layer one that could saturate.
        again = {name: min(bits[name], now) for name, now in choose_weight_bits(graph).items()}
        if again != bits:
            bits, model = again, fake_quantize(graph, ranges, again)
    return Quantized(graph, model, ranges, bits, tuple(checkpoints))
