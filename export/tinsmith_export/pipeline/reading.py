"""The first stage: a Keras model and its data become a graph that gives the same."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tf_keras

from tinsmith_export.boxes import require_head
from tinsmith_export.errors import ConversionError
from tinsmith_export.frontend.load import prepared
from tinsmith_export.frontend.operators import read_graph
from tinsmith_export.frontend.predict import BATCH_SIZE, run
from tinsmith_export.frontend.trace import trace
from tinsmith_export.heap import keep_freed_memory
from tinsmith_export.inputs.checks import input_warnings
from tinsmith_export.inputs.entry import Entry, enter
from tinsmith_export.inputs.samples import Samples
from tinsmith_export.inputs.sequences import (
    Steps,
    as_given,
    as_steps,
    by_step,
    expected_answers,
    feed,
    only,
)
from tinsmith_export.inputs.sources import Source, from_source
from tinsmith_export.ir.embedding import Ids
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Concatenate
from tinsmith_export.ir.unrewritten import Refused
from tinsmith_export.options import AUTO, Options
from tinsmith_export.passes.parts import cut, joins, part_joined
from tinsmith_export.passes.rewrite import rewrite, strip_output_activations
from tinsmith_export.progress import Progress
from tinsmith_export.quantize.evaluation import Layers, evaluate, fitting_count
from tinsmith_export.quantize.kept import require_layers
from tinsmith_export.reference.rebuild import rebuild
from tinsmith_export.verify.stages import activated
from tinsmith_runtime.batch import Arrays, parts, rows
from tinsmith_runtime.bundle import MAX_TENSORS, BoxHead
from tinsmith_runtime.errors import UsageError

_MAX_TENSOR_BYTES = 2**25
# Of outputs that are computed in another order: 1.2e-4 in a ResNet50 with random weights.
_TOLERANCE = 5e-4
# Of two branches of an output that stays one: the smaller loses two bits of its codes.
_RANGE_RATIO = 4
# Of calibration inputs, by which an output is taken apart.
_PART_COUNT = 256


@dataclass(frozen=True, eq=False)
class ReadModel:
    """A model that was read, rewritten, and compared with Keras.

    Attributes:
        name: the model's.
        model: of Keras 3 or tf_keras, or a `SavedModel`.
        samples: what it is compiled with.
        graph: rewritten, float.
        reference: the graph as a model.
        entry: what the inputs are.
        classes: whether the one output is logits of classes.
        expected: the Keras model's outputs for the evaluation data.
        logits: the reference's.
        warnings: what may be wrong with the inputs.
        steps: of a stream, what the reference gives step by step; else none.
    """

    name: str
    model: Any
    samples: Samples
    graph: Graph
    reference: tf_keras.Model
    entry: Entry
    classes: bool
    expected: Arrays
    logits: Arrays
    warnings: tuple[str, ...]
    steps: Steps | None = None

    @property
    def activations(self) -> list[str]:
        """What makes the Keras model's answer of each output."""
        return [node.activation for node in self.graph.answers]


def read_model(
    model: Any, samples: Samples | Source, options: Options, progress: Progress
) -> ReadModel:
    """Reads a model and rewrites it.

    Args:
        model: of Keras 3 or tf_keras, or a `SavedModel`.
        samples: what to compile it with, or where to find them.
        options: how to export.
        progress: hears how it goes.

    Raises:
        UsageError: model, samples and options do not fit each other.
        ConversionError: the graph gives something else than the model.
    """
    keep_freed_memory()
    model = prepared(model, options.input_shape, options.output)
    progress.stage(f"reading {model.name}")
    read = read_graph(trace(model, options.input_shape, options.stateful))
    if any(isinstance(node, Refused) for node in read.nodes):
        rewrite(read)  # it refuses them, before any data are read
    if options.boxes:
        require_boxes(read, options.boxes)
    sequence = options.input_shape or tuple(model.inputs[0].shape)[1:] if read.states else ()
    if isinstance(samples, Source):
        samples = _found(samples, read, sequence, options)
    steps = as_steps(samples, sequence) if read.states else samples
    entry = enter(read, steps, options.pixel_ranges).fitted(options.preprocessing)
    require_images(entry, options)
    read = _parted(strip_output_activations(read), samples, entry)
    graph = rewrite(entry.prepared(read))
    classes = not _has_boxes(entry, samples, options) and _has_classes(graph, samples)
    _require_layers(graph, classes, options)
    model_reals = entry.model_reals(samples.evaluation)
    size = fitting_count(graph, BATCH_SIZE, _MAX_TENSOR_BYTES)
    expected = cut(read.answers, expected_answers(read, run(model, model_reals, size)))
    scored = samples.evaluation_labels if classes else None
    warnings = (
        *input_warnings(model, read, model_reals, expected, scored),
        *_joined_outputs(read, expected),
    )
    for warning in warnings:
        progress.warn(warning)
    reference = rebuild(graph)
    fed = stepped(graph, entry.reals(by_step(samples.evaluation))) if graph.states else None
    logits = fed.answers if fed else evaluate(graph, entry.reals(samples.evaluation))
    found = ReadModel(
        *(model.name, model, samples, graph, reference, entry),
        *(classes, expected, logits, warnings, fed),
    )
    _check_rewrite(graph, expected, activated(logits, found.activations))
    return found


def _parted(read: Graph, samples: Samples, entry: Entry) -> Graph:
    """The graph with an output for each part of one whose parts have very different ranges.

    Classes are counted by one output: of what has labels nothing is taken apart.
    """
    before = None
    while samples.evaluation_labels is None and read != before and joins(read):
        before, graph = read, rewrite(entry.prepared(read))
        first = entry.reals(as_given(graph, rows(samples.calibration, slice(_PART_COUNT))))
        values = stepped(graph, first).answers if graph.states else evaluate(graph, first)
        # The activation of a part may stand behind a concatenation, too.
        read = strip_output_activations(part_joined(read, values, MAX_TENSORS))
    return read


def _found(source: Source, read: Graph, sequence: tuple[int, ...], options: Options) -> Samples:
    """The samples of a source; of a stream, `sequence` is the shape of each."""
    shapes = {node.name: node.sample_shape for node in read.given}
    shape = sequence or (shapes if len(shapes) > 1 else read.given[0].sample_shape)
    output = read.answers[0].shape
    outputs = output[0] if len(read.answers) == len(output) == 1 else None
    return from_source(source, shape, options.seed, outputs, options.preprocessing)


def stepped(graph: Graph, sequences: Arrays) -> Steps:
    """What a float graph of one step gives for sequences, `float32 (N, T, …)`."""
    layers: Layers = {}
    return feed(graph, only(sequences), lambda step: evaluate(graph, step, layers=layers))


def require_images(entry: Entry, options: Options) -> None:
    """Checks that there are pixels where the options speak of them.

    Raises:
        UsageError: no input is an image.
    """
    kinds = [source.kind for source in entry.sources]
    if options.said_of_pixels and "image" not in kinds:
        raise UsageError(
            f"{options.said_of_pixels[0]}: expected uint8 pixels (N, H, W, C), got {kinds[0]}: "
            "give the pixels as they are, or leave it out"
        )


def _joined_outputs(graph: Graph, expected: Arrays) -> Iterator[str]:
    """Warns of an output that joins tensors of very different ranges: they share one scale."""
    for output, values in zip(graph.answers, parts(expected), strict=True):
        node = graph.node(output.inputs[0])
        if not isinstance(node, Concatenate):
            continue
        sizes = [graph.node(name).shape[node.axis] for name in node.inputs]
        layers = [name.partition("/")[0] for name in node.inputs]
        found = np.split(values, np.cumsum(sizes)[:-1], axis=node.axis + 1)
        widths = {float(np.ptp(part)): name for part, name in zip(found, layers, strict=True)}
        least, most = min(widths), max(widths)
        if 0 < least * _RANGE_RATIO < most:
            yield (
                f"output `{output.title}` joins `{widths[most]}`, whose values span {most:.3g}, "
                f"and `{widths[least]}`, {least:.3g}: one scale serves both, so the smaller has "
                f"{256 * least / most:.0f} codes of 256. If they are different things, like sides "
                "and scores of boxes, give each as an output"
            )


def require_boxes(read: Graph, head: BoxHead) -> None:
    """Checks that a head describes the outputs of a model, as it was read."""
    source = read.inputs[0]
    image = len(read.inputs) == 1 and len(source.shape) == 3 and not isinstance(source, Ids)
    outputs = {node.title: node.shape for node in read.outputs}
    require_head(head, source.shape if image else None, outputs)


def _has_boxes(entry: Entry, samples: Samples, options: Options) -> bool:
    """Whether the outputs are values that become boxes; if so, the data must be such images."""
    if options.boxes is None:
        return False
    kind = entry.sources[0].kind
    if kind != "image":
        raise UsageError(f"boxes: expected uint8 images (N, H, W, C), {samples.name} has {kind}")
    if samples.evaluation_labels is not None:
        raise UsageError(
            f"boxes: {samples.name} has a label for each image, which a detector does not answer: "
            "give inputs without labels"
        )
    return True


def _has_classes(graph: Graph, samples: Samples) -> bool:
    """Whether the one output is logits of classes; otherwise outputs are values.

    Labels of evaluation data, or a softmax, say so; labels of calibration data do not.
    """
    labels = samples.evaluation_labels
    if len(graph.answers) > 1:
        if labels is not None:
            names = ", ".join(node.title for node in graph.answers)
            raise UsageError(
                f"the model has {len(graph.answers)} outputs ({names}), labels are for one: give "
                "inputs without labels, or compile one output with --output"
            )
        return False
    if labels is not None and graph.answers[0].by_step:
        raise UsageError(
            "the model gives an output for each step, labels are for whole sequences: give "
            "sequences without labels"
        )
    shape, activation = graph.answers[0].shape, graph.answers[0].activation
    if labels is None and not (activation == "softmax" and len(shape) == 1):
        return False
    told = [part for part in (labels, samples.calibration_labels) if part is not None]
    known = max([len(samples.classes), *(int(part.max()) + 1 for part in told)])
    if len(shape) != 1 or shape[0] < known or (samples.classes and shape[0] != known):
        raise UsageError(
            f"the model gives outputs {shape}, {samples.name} has {known} classes: give "
            "inputs without labels where the model does not classify"
        )
    return True


def _require_layers(graph: Graph, classes: bool, options: Options) -> None:
    """Checks what is to be kept float, as long as nothing has taken time."""
    if AUTO in options.keep_float and not classes:
        raise UsageError(
            f"--keep-float {AUTO} needs outputs of classes, whose losses have a limit; "
            "for values, name the layers: --sensitivity shows which"
        )
    require_layers(graph, options.kept_layers)


def _check_rewrite(graph: Graph, expected: Arrays, found: Arrays) -> None:
    """Compares what the rewritten model gives with what the Keras model gives."""
    for node, wanted, output in zip(graph.answers, parts(expected), parts(found), strict=True):
        difference = float(np.abs(output - wanted).max())
        if not difference <= _TOLERANCE * max(1.0, float(np.abs(wanted).max())):
            raise ConversionError(
                f"the rewritten model differs from the Keras model by {difference:.2g}, more than "
                f"{_TOLERANCE:g}, in output `{node.title}`"
            )
