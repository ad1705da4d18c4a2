"""From a float graph to the fake-quantized model that gets converted: calibrate, round, QAT."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import tf_keras

from tinsmith_export.inputs.sequences import feed, only
from tinsmith_export.ir.bits import FLOAT_BITS, WEIGHT_BITS
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Weighted
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.outputs import squared_error
from tinsmith_export.passes.convolutions import convolution_by_dense
from tinsmith_export.quantize.balance import balance
from tinsmith_export.quantize.evaluation import Layers, evaluate, with_rounded_weights
from tinsmith_export.quantize.fake_quantization import (
    choose_weight_bits,
    fake_quantize,
)
from tinsmith_export.quantize.groups import Observed
from tinsmith_export.quantize.kept import find_layers
from tinsmith_export.quantize.layerwise import correct_layers
from tinsmith_export.quantize.narrowest import not_too_narrow
from tinsmith_export.quantize.qat import DistillationData, Report, distill, measure
from tinsmith_export.quantize.range_search import narrow
from tinsmith_export.quantize.ranges import share_ranges
from tinsmith_export.quantize.regions import unrounded
from tinsmith_export.quantize.separate import separate
from tinsmith_export.quantize.state_range import narrow_states
from tinsmith_export.quantize.trained import (
    range_widths,
    trained_graph,
    trained_units,
    widened,
)
from tinsmith_export.results import Checkpoint
from tinsmith_runtime.batch import Arrays, parts, rows

# Of the inputs held back: each choice takes a run over them.
_CHOICE_COUNT = 256
# Sequences: eight runs over their steps choose the range of a state.
_STATE_COUNT = 64
# The search for ranges takes a hundred runs and more.
SEARCH_COUNT = 32


@dataclass(frozen=True, eq=False)
class Calibration:
    """What quantization parameters and biases are chosen from.

    Attributes:
        observed: the lowest and the highest output of each layer that computes new values.
        sources: the quantization parameters of each input, by its name.
        data: what was observed.
        held_back: what choices are made on.
        least_bits: how many bits weights have that could saturate an x86 kernel with 8.
        fit_weights: whether weights are also rounded by the inputs that they meet.
        regions: whether the output of a layer kept float that only such layers read stays float.
        judged: of a stream, the sequences held back, whole, by which recipes are judged.
    """

    observed: Observed
    sources: Mapping[str, QuantParams]
    data: DistillationData
    held_back: DistillationData
    least_bits: int = WEIGHT_BITS
    fit_weights: bool = False
    regions: bool = True
    judged: DistillationData | None = None


@dataclass(frozen=True, eq=False)
class Quantized:
    """The model that computes in float what the integer engines will.

    Attributes:
        exact: its layers, not rounded: what rounding does is measured against them.
        graph: the same with corrected biases, where that helps.
        ranges: the quantization parameters of each output that is rounded, by the layer's name.
        weight_bits: layer name to how many bits its weights have; see `ir.bits`.
        calibration: what they were chosen from.
        tuning: the checkpoints of the fine-tuning, if there was any.
        unrounded: the layers whose output is not rounded; see `regions`. The parameters are those
            that it would have: TensorFlow's converter rounds everything, and is put right later.
    """

    exact: Graph
    graph: Graph
    ranges: Mapping[str, QuantParams]
    weight_bits: Mapping[str, int]
    calibration: Calibration
    tuning: tuple[Checkpoint, ...] = ()
    unrounded: Mapping[str, QuantParams] = field(default_factory=dict)

    @property
    def all_ranges(self) -> Mapping[str, QuantParams]:
        """Quantization parameters of each layer's output, rounded or not, by its name."""
        return {**self.ranges, **self.unrounded}

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Those of the fine-tuning; the first is without any."""
        return self.tuning or (self.measured,)

    @cached_property
    def measured(self) -> Checkpoint:
        """What it gives for the inputs held back, 256 at most; of a stream for sequences."""
        held_back = self.calibration.judged or self.calibration.held_back
        chosen = slice(_CHOICE_COUNT)
        found = self.answers(rows(held_back.inputs, chosen))
        return measure(found, rows(held_back.outputs, chosen), held_back.classes)

    @cached_property
    def model(self) -> tf_keras.Model:
        """The graph as a fake-quantized model."""
        return fake_quantize(self.graph, self.ranges, self.weight_bits)

    def outputs(self, inputs: Arrays) -> Arrays:
        """Computes `float32 (N, …)` outputs of `float32 (N, …)` inputs, everything rounded."""
        graph = with_rounded_weights(self.graph, self.ranges, self.weight_bits)
        return evaluate(graph, inputs, self.ranges)

    def answers(self, inputs: Arrays) -> Arrays:
        """As `outputs`; of a stream, whose inputs are sequences, `Steps.answers`."""
        if not self.graph.states:
            return self.outputs(inputs)
        graph = with_rounded_weights(self.graph, self.ranges, self.weight_bits)
        layers: Layers = {}
        run = partial(evaluate, graph, ranges=self.ranges, layers=layers)
        return feed(graph, only(inputs), run).answers

    @property
    def kept(self) -> tuple[Weighted, ...]:
        """The layers that are kept float."""
        bits = self.weight_bits
        return tuple(node for node in self.graph.weighted if bits[node.name] == FLOAT_BITS)

    def ranges_keeping(self, more: Collection[str]) -> Mapping[str, QuantParams]:
        """The parameters of what is rounded with more layers kept float, all else the same."""
        bits = {**self.weight_bits, **dict.fromkeys(more, FLOAT_BITS)}
        floats = unrounded(self.exact, bits) if self.calibration.regions else ()
        return {name: one for name, one in self.ranges.items() if name not in floats}

    def keeping(self, more: Sequence[str]) -> "Quantized":
        """The same with more layers kept float, and biases corrected anew."""
        bits = {**self.weight_bits, **dict.fromkeys(more, FLOAT_BITS)}
        return _quantized(self.exact, bits, self.calibration, self.tuning)


def quantize(graph: Graph, calibration: Calibration, keep: Sequence[str] = ()) -> Quantized:
    """Quantizes a graph after training: rounds it and corrects its biases.

    Args:
        graph: a rewritten graph.
        calibration: what it gives on calibration data.
        keep: the layers that stay float; a Keras layer's name means all its parts.

    Raises:
        UsageError: no layer has such a name.
    """
    exact, observed = balance(graph, calibration.observed)
    observed = not_too_narrow(exact, observed, calibration.sources)
    exact, observed = separate(exact, observed, calibration.sources)
    bits = choose_weight_bits(exact, calibration.least_bits)
    bits |= dict.fromkeys(find_layers(exact, keep), FLOAT_BITS)
    calibration = replace(calibration, observed=observed)
    if calibration.judged is not None:
        calibration = _with_narrow_states(exact, bits, calibration, calibration.judged)
    return _quantized(exact, bits, calibration)


def _with_narrow_states(
    exact: Graph, bits: Mapping[str, int], calibration: Calibration, like: DistillationData
) -> Calibration:
    """With the ranges of states chosen on the first calibration sequences, as long as `like`'s."""
    steps = parts(like.inputs)[0].shape[1]
    first = rows(calibration.data.inputs, slice(_STATE_COUNT * steps))
    sequences = parts(first)[0].reshape(-1, steps, *exact.given[0].shape)
    wanted = feed(exact, sequences, partial(evaluate, exact, layers={})).every_answer

    def error(observed: Observed) -> float:
        ranges, _ = _ranges(exact, bits, replace(calibration, observed=observed))
        graph = with_rounded_weights(exact, ranges, bits)
        run = partial(evaluate, graph, ranges=ranges, layers={})
        return squared_error(wanted, feed(graph, sequences, run).every_answer)

    return replace(calibration, observed=narrow_states(exact, calibration.observed, error))


def refine(quantized: Quantized, report: Callable[[int, int], None]) -> Quantized:
    """Rounds weights by the inputs that they meet, then searches for narrower ranges.

    Each of the two is kept if the outputs held back get better.

    Args:
        quantized: what to search from.
        report: hears how many layers are done, of how many.
    """
    calibration = replace(quantized.calibration, fit_weights=True)
    best = _nearest(quantized, _corrected(replace(quantized, calibration=calibration), fit=True))
    bits = best.weight_bits
    graph = with_rounded_weights(best.graph, best.ranges, bits)
    chosen = slice(SEARCH_COUNT)
    inputs, outputs = rows(calibration.data.inputs, chosen), rows(calibration.data.outputs, chosen)
    layers: Layers = {}  # of hundreds of evaluations

    def error(observed: Observed) -> float:
        ranges, _ = _ranges(best.exact, bits, replace(calibration, observed=observed))
        return squared_error(outputs, evaluate(graph, inputs, ranges, layers))

    observed = narrow(best.exact, calibration.observed, error, report)
    narrowed = replace(best.calibration, observed=observed)
    return _nearest(best, _quantized(best.exact, bits, narrowed))


def _nearest(*found: Quantized) -> Quantized:
    """Whose outputs held back are nearest to the float ones; the first of those as near."""
    return min(found, key=lambda quantized: quantized.measured.mean_squared_error)


def fine_tune(
    quantized: Quantized,
    steps: int,
    batch_size: int,
    seed: int,
    report: Report,
    end_s: float = math.inf,
) -> Quantized:
    """Fine-tunes a quantized graph (QAT); what is no better on the inputs held back is not kept.

    Scales are learned with the weights. Afterwards they are chosen anew, for what was learned as
    for what was observed, so that sums and products stay exact.

    Args:
        quantized: what to begin with.
        steps: of one batch each, 1 or more.
        batch_size: how many inputs a step takes; see `qat.batch_size`.
        seed: of the order of the inputs.
        report: hears of the fine-tuning.
        end_s: when to stop, by `time.monotonic`, with steps left.
    """
    bits, calibration = quantized.weight_bits, quantized.calibration
    floats = {node.name: FLOAT_BITS for node in quantized.kept}
    widths = range_widths(quantized.exact, calibration.observed, calibration.sources)
    model = fake_quantize(convolution_by_dense(quantized.graph), quantized.ranges, bits, widths)
    units = trained_units(quantized.graph, quantized.all_ranges, model)
    data, held_back = calibration.data, calibration.held_back
    checkpoints = distill(model, units, data, held_back, steps, batch_size, seed, report, end_s)
    graph = trained_graph(quantized.graph, model)
    # Weights that moved can make an 8-bit layer one that could saturate.
    now = choose_weight_bits(graph, calibration.least_bits)
    bits = {name: min(bits[name], now[name]) for name in now} | floats
    learned = replace(calibration, observed=widened(calibration.observed, widths))
    return _quantized(graph, bits, learned, tuple(checkpoints))


def _quantized(
    exact: Graph,
    bits: Mapping[str, int],
    calibration: Calibration,
    tuning: tuple[Checkpoint, ...] = (),
) -> Quantized:
    """Rounds a graph; whatever brings the outputs nearest to the float ones is kept."""
    ranges, others = _ranges(exact, bits, calibration)
    plain = Quantized(exact, exact, ranges, bits, calibration, tuning, others)
    fits = (False, True) if calibration.fit_weights else (False,)
    return _nearest(plain, *(_corrected(plain, fit) for fit in fits))


def _corrected(quantized: Quantized, fit: bool) -> Quantized:
    """The same with corrected biases; if `fit`, weights too are rounded by what they meet."""
    bits, calibration = quantized.weight_bits, quantized.calibration
    # A weight of 8 bits that could saturate a kernel if it were rounded otherwise stays as it is.
    fitted = [name for name in bits if fit and bits[name] <= calibration.least_bits]
    data = calibration.data.inputs
    graph = correct_layers(quantized.exact, quantized.ranges, bits, data, fitted)
    return replace(quantized, graph=graph)


def _ranges(
    exact: Graph, bits: Mapping[str, int], calibration: Calibration
) -> tuple[dict[str, QuantParams], dict[str, QuantParams]]:
    """The parameters of the tensors that are rounded, and of those that are not."""
    ranges = share_ranges(exact, calibration.observed, calibration.sources)
    names = unrounded(exact, bits) if calibration.regions else ()
    others = {name: ranges.pop(name) for name in names}
    return ranges, others
