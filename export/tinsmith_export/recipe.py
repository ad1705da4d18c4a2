"""From a float graph to the fake-quantized model that gets converted: calibrate, round, tune."""

from dataclasses import dataclass

import tf_keras

from tinsmith_export.calibration import Range, calibrate
from tinsmith_export.exporting import Checkpoint
from tinsmith_export.graph import Graph
from tinsmith_export.quantize import choose_weight_bits, fake_quantize, tuned_graph
from tinsmith_export.tune import Lesson, Report, tune

_CALIBRATION_COUNT = 2000


@dataclass(frozen=True)
class Quantized:
    """The model that computes in float what the integer engines will.

    Attributes:
        model: to convert.
        weight_bits: layer name to 7 or 8.
        checkpoints: of the fine-tuning; the first is post-training quantization.
    """

    model: tf_keras.Model
    weight_bits: dict[str, int]
    checkpoints: tuple[Checkpoint, ...]


def quantize(
    graph: Graph,
    input_range: Range,
    lesson: Lesson,
    held_back: Lesson,
    epochs: int,
    seed: int,
    report: Report,
) -> Quantized:
    """Quantizes a graph and fine-tunes it.

    Args:
        graph: a rewritten graph.
        input_range: the real values of pixels 0 and 255.
        lesson: what to calibrate and to fine-tune on.
        held_back: what to choose the checkpoint on.
        epochs: passes of fine-tuning; 0 is post-training quantization.
        seed: of the order of the images.
        report: hears of the fine-tuning.
    """
    ranges = calibrate(graph, lesson.inputs[:_CALIBRATION_COUNT])
    bits = choose_weight_bits(graph)
    model = fake_quantize(graph, input_range, ranges, bits)
    checkpoints = tune(model, lesson, held_back, epochs, seed, report)
    tuned = tuned_graph(graph, model)
    # Weights that moved can make an 8-bit layer one that could saturate.
    again = {name: min(bits[name], now) for name, now in choose_weight_bits(tuned).items()}
    if again != bits:
        model = fake_quantize(tuned, input_range, ranges, again)
    return Quantized(model, again, tuple(checkpoints))
