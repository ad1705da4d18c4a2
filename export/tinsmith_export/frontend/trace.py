"""From a Keras model to its operators: traced, inlined, constants computed.

What a model computes is read from TensorFlow, not from its layers' settings: so both Kerases, a
model inside a model, a layer called twice and an operator between layers are all the same thing.
"""

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tinsmith_data.interrupts import held_interrupts
from tinsmith_data.quiet import silence
from tinsmith_export.frontend.function import as_function, frozen, in_order
from tinsmith_export.frontend.graphdef import require_small_constants
from tinsmith_export.frontend.memory import Memory
from tinsmith_export.frontend.savedmodel import SavedModel, scope_of
from tinsmith_export.frontend.sizes import input_sizes
from tinsmith_export.frontend.stream import NEXT, any_length, as_stream, step_shape
from tinsmith_export.frontend.watch import Calls

# Traced with a batch of this size, so that a dimension that mixes images shows.
BATCH = 2

PASS = ("Identity", "IdentityN", "StopGradient", "PreventGradient", "Cast")
_FLOATS = (tf.float16, tf.bfloat16, tf.float32, tf.float64)
# What an operator computes with; its other inputs only say a shape, which is known.
_NEEDED = {"Reshape": 1, "ExpandDims": 1, "Squeeze": 1}
# What they say of a computed tensor is known without computing it.
_SHAPES = ("Shape", "Size", "Rank")


@dataclass(frozen=True)
class Operator:
    """One operator of TensorFlow that depends on the model's input.

    Attributes:
        output: the name of the tensor that it makes, the first if there are several.
        kind: `Conv2D` for example.
        layer: the Keras layer that it belongs to; in a model inside a model `inner.layer`.
        inputs: the names of the tensors that it reads.
        shape: of its output, batch first.
        settings: its attributes.
        others: the other tensors that it makes, with their shapes.
    """

    output: str
    kind: str
    layer: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    settings: Mapping[str, Any]
    others: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Trace:
    """What a model computes.

    Attributes:
        model: its name.
        operators: those between inputs and outputs, in the order of computation.
        constants: every constant tensor that they read.
        inputs: the names of the input tensors, each with its shape, `(BATCH, …)`.
        input_names: what Keras calls them.
        outputs: the names of the output tensors; one may be there twice, or be an input.
        output_names: what Keras calls them.
        classes: layer to class, for layers that are known.
        ids: the inputs that name rows of a table, each with the rows that there are.
        fed_by: of one step of a stream, the name of each state to that of the output that feeds it.
        by_step: of a stream, for each output, whether the model gives one for each step.
        refused: layers that are known not to compile, each with the reason.
    """

    model: str
    operators: tuple[Operator, ...]
    constants: Mapping[str, NDArray[Any]]
    inputs: Mapping[str, tuple[int, ...]]
    input_names: tuple[str, ...]
    outputs: tuple[str, ...]
    output_names: tuple[str, ...]
    classes: Mapping[str, str]
    ids: Mapping[str, int] = field(default_factory=dict)
    fed_by: Mapping[str, str] = field(default_factory=dict)
    by_step: tuple[bool, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


@held_interrupts()
def trace(model: Any, input_shape: tuple[int, ...] | None = None, stateful: bool = False) -> Trace:
    """Traces a model of Keras 3 or tf_keras, or a SavedModel's signature.

    Args:
        model: as `prepared` gives it.
        input_shape: without the batch, for a model with one input that takes several sizes.
        stateful: whether to trace one step of a stream; see `as_stream`, also for what is raised.

    Raises:
        TinsmithError: the model takes several sizes, and none is given, or a layer of it raises.
        UsageError: it takes another than the given one.
    """
    if stateful:
        return _trace_step(model, input_shape)
    shapes = [(BATCH, *shape) for shape in input_sizes(model, input_shape)]
    calls = Calls()
    with calls.watched(model):
        function = as_function(model, shapes)
    with silence():
        found = _simplify(model, function, calls)
    return _without_scope(found) if isinstance(model, SavedModel) else found


def _trace_step(model: Any, input_shape: tuple[int, ...] | None) -> Trace:
    """One step, with the states before it as inputs, and those behind it as outputs."""
    shape = input_shape or tuple(model.inputs[0].shape)[1:]
    stream, memory = as_stream(model, shape), Memory()
    shapes = [step_shape(shape), *((units,) for units in stream.states.values())]
    calls = Calls(memory)
    with calls.watched(model), any_length(model):
        call = functools.partial(stream.call, model, memory)
        function = as_function(model, [(BATCH, *one) for one in shapes], call)
    with silence():
        found = _simplify(model, function, calls)
    nexts = {name: f"{name}{NEXT}" for name in stream.states}
    return replace(
        found,
        input_names=(*found.input_names, *nexts),
        output_names=(*found.output_names, *nexts.values()),
        fed_by=nexts,
        by_step=stream.by_step,
    )


def output_names(model: Any) -> tuple[str, ...]:
    """What Keras calls a model's outputs; a sequential one of Keras 3 has no name for it."""
    return distinct(getattr(model, "output_names", ["output"]))


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """The names, with a number behind those that were there before."""
    found: list[str] = []
    for name in names:
        numbered = (f"{name}_{number}" for number in itertools.count(1))
        found.append(next(one for one in itertools.chain([name], numbered) if one not in found))
    return tuple(found)


def _without_scope(trace: Trace) -> Trace:
    """Takes the model's own name off its layers', where all of them begin with it."""
    scopes = {operator.layer.partition(".")[0] for operator in trace.operators}
    if len(scopes) != 1 or not all("." in operator.layer for operator in trace.operators):
        return trace
    (scope,) = scopes
    operators = (
        replace(operator, layer=operator.layer.removeprefix(f"{scope}."))
        for operator in trace.operators
    )
    refused = {layer.removeprefix(f"{scope}."): why for layer, why in trace.refused.items()}
    return replace(trace, operators=tuple(operators), refused=refused)


@dataclass(frozen=True)
class _Reached:
    """What of a graph depends on the inputs.

    Attributes:
        tensors: their names.
        operations: output tensor to the operation that makes it, and what that reads.
        alias: tensor that is another one as it is, to that one.
    """

    tensors: set[str]
    operations: dict[str, tuple[Any, list[str]]]
    alias: dict[str, str]

    def origin(self, tensor: Any) -> str:
        """The name of the tensor that this one is."""
        return self.alias.get(tensor.name, str(tensor.name))


def _simplify(model: Any, function: Any, calls: Calls) -> Trace:
    """Leaves the operators that the outputs need, and computes what does not need the inputs."""
    calls.refused |= _changing(function, calls)
    closed = frozen(function)
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(closed.graph, name="")
    sources, outputs = (
        [graph.get_tensor_by_name(name) for name in names]
        for names in (closed.inputs, closed.outputs)
    )
    reached = _reach(in_order(outputs), sources)
    names = tuple(map(reached.origin, outputs))
    operators, constants = _needed(reached, names, model.name, calls)
    require_small_constants(
        [graph.get_tensor_by_name(name).op for name in constants], reached.tensors
    )
    return Trace(
        model.name,
        operators,
        _values(graph, sources, constants),
        {source.name: tuple(source.shape) for source in sources},
        tuple(source.name for source in model.inputs),
        names,
        output_names(model),
        calls.classes,
        refused=calls.refused,
    )


def _changing(function: Any, calls: Calls) -> dict[str, str]:
    """The layers that change a variable whenever they are called, each with what to do."""
    changed = (op for op in function.graph.get_operations() if op.type.startswith("Assign"))
    layers = dict.fromkeys(calls.layers.get(op.name) or scope_of(op.name) for op in changed)
    return {
        layer: f"layer `{layer}` ({calls.classes.get(layer, 'operator')}) cannot be compiled: it "
        "changes a variable whenever it is called; count, and draw random numbers, in "
        "training alone: `if training:` in its call"
        for layer in layers
    }


def _reach(operations: Iterable[Any], sources: Sequence[Any]) -> _Reached:
    found = _Reached({source.name for source in sources}, {}, {})
    for operation in operations:
        inputs = [found.origin(tensor) for tensor in operation.inputs]
        if operation.type in PASS and all(t.dtype in _FLOATS for t in operation.outputs):
            names = (tensor.name for tensor in operation.outputs)
            found.alias.update(zip(names, inputs, strict=True))
        elif found.tensors.intersection(inputs) and operation.type not in _SHAPES:
            found.tensors.update(tensor.name for tensor in operation.outputs)
            found.operations[operation.outputs[0].name] = (operation, inputs)
    return found


def _needed(
    reached: _Reached, outputs: Iterable[str], model: str, calls: Calls
) -> tuple[tuple[Operator, ...], list[str]]:
    """The operators that outputs need, and the names of the constants that these read."""
    needed = set(outputs)
    constants: set[str] = set()
    operators = []
    for tensor, (operation, inputs) in reversed(reached.operations.items()):
        if not needed.intersection(output.name for output in operation.outputs):
            continue
        used = inputs[: _NEEDED.get(operation.type)]
        needed |= reached.tensors.intersection(used)
        constants |= set(used) - reached.tensors
        shape = operation.outputs[0].shape
        layer = calls.layers.get(operation.name) or scope_of(operation.name) or model
        if not shape.is_fully_defined():
            calls.refused.setdefault(
                layer,
                f"layer `{layer}` ({calls.classes.get(layer, operation.type)}): the size of its "
                f"output is known only at run time, {shape}: give it a fixed size",
            )
            shape = tf.TensorShape(())
        settings = {key: operation.get_attr(key) for key in operation.node_def.attr}
        others = {
            output.name: tuple(output.shape)
            for output in operation.outputs[1:]
            if output.shape.is_fully_defined()
        }
        operators.append(
            Operator(tensor, operation.type, layer, tuple(used), tuple(shape), settings, others)
        )
    return tuple(reversed(operators)), sorted(constants)


def _values(
    graph: Any, sources: Sequence[Any], constants: Iterable[str]
) -> dict[str, NDArray[Any]]:
    """Computes constants."""
    found, computed = dict[str, NDArray[Any]](), list[str]()
    for name in constants:
        tensor = graph.get_tensor_by_name(name)
        if tensor.op.type == "Const":
            found[name] = tf.make_ndarray(tensor.op.get_attr("value"))
        elif tensor.dtype.is_numpy_compatible:
            computed.append(name)
    if computed:
        # They do not depend on the input's values, but what was a function may wait for it.
        nothing = {source: np.zeros(source.shape, np.float32) for source in sources}
        with tf.compat.v1.Session(graph=graph) as session:
            found.update(zip(computed, session.run(computed, nothing), strict=True))
    return found
