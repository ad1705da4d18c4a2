"""From a Keras model to its operators: traced, inlined, constants computed.

What a model computes is read from TensorFlow, not from its layers' settings: so both Kerases, a
model inside a model, a layer called twice and an operator between layers are all the same thing.
"""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_runtime.errors import TinsmithError
from tinsmith_train.noise import silence

# Traced with a batch of this size, so that a dimension that mixes images shows.
BATCH = 2

_PASS = ("Identity", "IdentityN", "StopGradient", "PreventGradient", "Cast")
# What an operator computes with; its other inputs only say a shape, which is known.
_NEEDED = {"Reshape": 1, "ExpandDims": 1, "Squeeze": 1}
# What they say of a computed tensor is known without computing it.
_SHAPES = ("Shape", "Size", "Rank")


@dataclass(frozen=True)
class Operator:
    """One operator of TensorFlow that depends on the model's input.

    Attributes:
        output: the name of the tensor that it makes.
        kind: `Conv2D` for example.
        layer: the Keras layer that it belongs to; in a model inside a model `inner.layer`.
        inputs: the names of the tensors that it reads.
        shape: of its output, batch first.
        settings: its attributes.
    """

    output: str
    kind: str
    layer: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Trace:
    """What a model computes.

    Attributes:
        model: its name.
        operators: those between input and output, in the order of computation.
        constants: every constant tensor that they read.
        input: the name of the input tensor.
        input_shape: `(BATCH, …)`.
        output: the name of the output tensor.
        classes: layer to class, for layers that are known.
    """

    model: str
    operators: tuple[Operator, ...]
    constants: Mapping[str, NDArray[Any]]
    input: str
    input_shape: tuple[int, ...]
    output: str
    classes: Mapping[str, str]


def trace(model: Any) -> Trace:
    """Traces a model of Keras 3 or tf_keras.

    Args:
        model: built, one input of a fixed shape but for the batch, one output.

    Raises:
        TinsmithError: the model has another form.
        UnsupportedLayerError: a size that only a run could tell.
    """
    if not getattr(model, "inputs", None):
        raise TinsmithError(
            f"{model.name}: expected a functional or sequential model with an input shape, "
            f"got {type(model).__name__}"
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise TinsmithError(
            f"{model.name}: expected one input and one output, "
            f"got {len(model.inputs)} and {len(model.outputs)}"
        )
    shape = tuple(model.inputs[0].shape)
    if None in shape[1:]:
        raise TinsmithError(
            f"{model.name}: expected an input of a fixed size, got {shape}: "
            "build the model with the size that the board will see"
        )
    calls = _Calls()
    tf.config.run_functions_eagerly(True)  # a function that XLA compiles would stay closed
    try:
        with silence(), calls.watched(model):
            function = tf.compat.v1.wrap_function(
                lambda x: model(x, training=False),
                [tf.TensorSpec((BATCH, *shape[1:]), tf.float32, name="input")],
            )
    finally:
        tf.config.run_functions_eagerly(False)
    with silence():
        return _simplify(model.name, function, calls)


class _Calls:
    """Notes which operators each layer makes while a model is traced."""

    def __init__(self) -> None:
        self.layers: dict[str, str] = {}  # operator to layer
        self.classes: dict[str, str] = {}  # layer to class
        self._stack: list[str] = []

    @contextmanager
    def watched(self, model: Any) -> Iterator[None]:
        """Listens in on every layer of a model, and of the models in it."""
        watched = [part for part in _parts(model) if hasattr(part, "call")]
        # Some of tf_keras's layers hold a `call` of their own, which must be there again after.
        own = [vars(part).get("call") for part in watched]
        for part in watched:
            object.__setattr__(part, "call", self._listen(part))
        try:
            yield
        finally:
            for part, call in zip(watched, own, strict=True):
                object.__delattr__(part, "call")
                if call is not None:
                    object.__setattr__(part, "call", call)

    def _listen(self, part: Any) -> Any:
        call = part.call

        @functools.wraps(call)
        def listening(*args: Any, **kwargs: Any) -> Any:
            graph = tf.compat.v1.get_default_graph()
            before = len(graph.get_operations())
            self._stack.append(part.name)
            layer = ".".join(self._stack)
            self.classes[layer] = type(part).__name__
            try:
                return call(*args, **kwargs)
            finally:
                self._stack.pop()
                for operation in graph.get_operations()[before:]:
                    self.layers.setdefault(operation.name, layer)

        return tf.autograph.experimental.do_not_convert(listening)


def _parts(model: Any) -> Iterator[Any]:
    """Layers and operators of a model, once each, and those of the models in it."""
    seen: dict[int, Any] = {}
    for part in getattr(model, "operations", None) or getattr(model, "layers", ()):
        for inner in (part, *_parts(part)):
            seen.setdefault(id(inner), inner)
    yield from seen.values()


def _simplify(name: str, function: Any, calls: _Calls) -> Trace:
    """Leaves the operators that the output needs, and computes what does not need the input."""
    frozen = convert_variables_to_constants_v2(
        function, lower_control_flow=False, aggressive_inlining=True
    )
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(frozen.graph.as_graph_def(), name="")
    source = graph.get_tensor_by_name(frozen.inputs[0].name)
    output = graph.get_tensor_by_name(frozen.outputs[0].name)
    alias: dict[str, str] = {}

    def origin(tensor: Any) -> str:
        return alias.get(tensor.name, tensor.name)

    reached, found = {source.name}, {}
    for operation in graph.get_operations():
        inputs = [origin(tensor) for tensor in operation.inputs]
        if operation.type in _PASS:
            alias |= zip((tensor.name for tensor in operation.outputs), inputs, strict=True)
        elif reached.intersection(inputs) and operation.type not in _SHAPES:
            reached |= {tensor.name for tensor in operation.outputs}
            found[operation.outputs[0].name] = (operation, inputs)
    needed: set[str] = {origin(output)}
    constants: set[str] = set()
    operators = []
    for tensor, (operation, inputs) in reversed(found.items()):
        if tensor not in needed:
            continue
        used = inputs[: _NEEDED.get(operation.type)]
        needed |= reached.intersection(used)
        constants |= set(used) - reached
        shape = operation.outputs[0].shape
        layer = calls.layers.get(operation.name) or operation.name.rpartition("/")[0] or name
        if not shape.is_fully_defined():
            raise UnsupportedLayerError(
                f"layer `{layer}` ({calls.classes.get(layer, operation.type)}): the size of its "
                f"output is known only at run time, {shape}: give it a fixed size"
            )
        settings = {key: operation.get_attr(key) for key in operation.node_def.attr}
        operators.append(
            Operator(tensor, operation.type, layer, tuple(used), tuple(shape), settings)
        )
    with tf.compat.v1.Session(graph=graph) as session:
        zeros = {source: np.zeros(source.shape, np.float32)}
        values = dict(zip(constants, session.run(list(constants), zeros), strict=True))
    return Trace(
        name,
        tuple(reversed(operators)),
        values,
        source.name,
        tuple(source.shape),
        origin(output),
        calls.classes,
    )
