"""What an export would make of a model, without data: read and rewritten, nothing converted."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from math import prod
from typing import Any

import numpy as np

from tinsmith_export.errors import TargetError
from tinsmith_export.frontend.load import prepared
from tinsmith_export.frontend.operators import read_graph
from tinsmith_export.frontend.reader import plain
from tinsmith_export.frontend.savedmodel import SavedModel
from tinsmith_export.frontend.trace import Trace, trace
from tinsmith_export.inputs.entry import enter_unseen
from tinsmith_export.ir.attention import MatMul
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Node, Weigh, Weighted
from tinsmith_export.ir.quantization import QuantGraph
from tinsmith_export.options import Options
from tinsmith_export.passes.rewrite import rewrite
from tinsmith_export.pipeline.reading import require_boxes, require_images
from tinsmith_export.results import Checked, CheckedLayer, CheckedTarget
from tinsmith_export.targets.registry import TARGETS
from tinsmith_export.targets.target import Form
from tinsmith_export.targets.unmeasured import unmeasured


def check_model(model: Any, options: Options) -> Checked:
    """Says what becomes of a model.

    Args:
        model: of Keras 3 or tf_keras, or a `SavedModel`.
        options: how it would be exported.

    Raises:
        UsageError: model and options do not fit each other.
        UnsupportedLayerError: layers cannot be compiled, each by name.
    """
    model = prepared(model, options.input_shape, options.output)
    found = trace(model, options.input_shape, options.stateful)
    read = read_graph(found)
    if options.boxes:
        require_boxes(read, options.boxes)
    entry = enter_unseen(read, options.pixel_ranges)
    require_images(entry, options)
    graph = rewrite(entry.prepared(read))
    quantized = unmeasured(graph)
    targets, forms = _targets(quantized, graph, options.targets)
    layers = _layers(found, quantized.graph, forms)
    return Checked((), layers, targets, _model_parameters(model))


def _model_parameters(model: Any) -> int:
    if isinstance(model, SavedModel):
        return sum(value.size for value in model.variables.values())
    return int(model.count_params())


def _targets(
    model: QuantGraph, graph: Graph, names: Sequence[str] | None
) -> tuple[tuple[CheckedTarget, ...], dict[str, Mapping[str, Form]]]:
    """What is known of each target's files, and what each operator is in them."""
    checked, forms = list[CheckedTarget](), dict[str, Mapping[str, Form]]()
    for target in TARGETS:
        if names is not None and target.name not in names:
            continue
        try:
            found = target.estimate(model, graph)
        except TargetError as error:
            checked.append(CheckedTarget(target.name, target.title, refused=str(error)))
            continue
        if found is not None:
            forms[target.name] = found.forms
            sizes = found.int8_bytes, found.float_bytes, found.arena_bytes
            checked.append(CheckedTarget(target.name, target.title, *sizes))
    return tuple(checked), forms


def _layers(
    found: Trace, graph: Graph, forms: Mapping[str, Mapping[str, Form]]
) -> tuple[CheckedLayer, ...]:
    """The layers of the Keras model, and what compiling puts before and behind them."""
    kinds = {one.layer: found.classes.get(one.layer, one.kind) for one in reversed(found.operators)}
    names = {plain(one.layer): one.layer for one in found.operators}
    parts: dict[str, list[Node]] = {layer: [] for layer in names.values()}
    for node in graph.layers:
        name = node.name.partition("/")[0]
        parts.setdefault(names.get(name, name), []).append(node)
    return tuple(
        _layer(layer, kinds.get(layer, "added"), nodes, graph, forms)
        for layer, nodes in parts.items()
    )


def _layer(
    layer: str,
    kind: str,
    nodes: Sequence[Node],
    graph: Graph,
    forms: Mapping[str, Mapping[str, Form]],
) -> CheckedLayer:
    become = {
        target: [found[node.name] for node in nodes if node.name in found]
        for target, found in forms.items()
    }
    return CheckedLayer(
        layer,
        kind,
        {
            target: tuple(name for form in found for name in form.operators)
            for target, found in become.items()
        },
        tuple(name for name, found in become.items() if not all(form.integer for form in found)),
        sum(_macs(node, graph) for node in nodes),
        _weights(nodes),
    )


def _macs(node: Node, graph: Graph) -> int:
    """How often a node multiplies and adds: the whole kernel at each place of its output."""
    if isinstance(node, MatMul):
        return prod(node.shape) * graph.node(node.inputs[0]).shape[-1]
    if isinstance(node, Weigh):
        return prod(node.shape)
    return node.kernel.size * prod(node.shape[:-1]) if isinstance(node, Weighted) else 0


def _weights(nodes: Sequence[Node]) -> int:
    """How many numbers the constants of nodes hold; those that several share count once."""
    found: dict[str, int] = {}
    for node in nodes:
        shared = node.shared if isinstance(node, Weighted) else ""
        values = (getattr(node, field.name) for field in fields(node))
        found[shared or node.name] = sum(one.size for one in values if isinstance(one, np.ndarray))
    return sum(found.values())
