"""A model as a function of TensorFlow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

from tinsmith_data.quiet import silence
from tinsmith_export.frontend.savedmodel import SavedModel
from tinsmith_runtime.errors import TinsmithError


def as_function(
    model: Any,
    shapes: Sequence[tuple[int | None, ...]],
    call: Callable[..., Any] | None = None,
) -> Any:
    """A model as one function of TensorFlow.

    Args:
        model: as `prepared` gives it.
        shapes: of its inputs, batch first.
        call: what is called in its place.

    Raises:
        TinsmithError: a layer of it raises.
    """
    if isinstance(model, SavedModel):
        with silence():
            return model.function(shapes)
    was_eager = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)  # a function that XLA compiles would stay closed
    call = call or (lambda *x: model(list(x) if len(x) > 1 else x[0], training=False))
    try:
        with silence():
            return tf.compat.v1.wrap_function(
                call,
                [tf.TensorSpec(shape, tf.float32, name="input") for shape in shapes],
            )
    except TinsmithError as error:
        first: BaseException = error  # Keras writes a call's arguments around what a layer says
        while isinstance(first.__context__, TinsmithError):
            first = first.__context__
        raise first from None
    except Exception as error:  # a layer of the user's own may raise anything
        raise TinsmithError(
            f"{model.name}: it cannot be called on inputs of shape "
            f"{', '.join(str(shape) for shape in shapes)}: {type(error).__name__}: {error}"
        ) from error
    finally:
        tf.config.run_functions_eagerly(was_eager)


@dataclass(frozen=True, eq=False)
class Frozen:
    """A function whose variables are constants, and which calls no other.

    Attributes:
        graph: a `GraphDef`.
        inputs: the names of its input tensors, in order.
        outputs: the names of its output tensors, in order.
    """

    graph: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def frozen(function: Any) -> Frozen:
    """Makes constants of a function's variables, and puts what it calls in the place of the calls.

    This is TensorFlow's `convert_variables_to_constants_v2` without its last step, which makes a
    function of the graph again: that is half of the time that it takes to read a model.
    """
    data = convert_to_constants._FunctionConverterDataInEager(
        func=function, lower_control_flow=False, aggressive_inlining=True
    )
    graph, constant = convert_to_constants._replace_variables_by_constants(data)
    _drop_assignments(graph)
    captured = function.graph.internal_captures
    constants = {captured[place].name for place in constant}
    inputs = (tensor.name for tensor in function.inputs if tensor.name not in constants)
    return Frozen(graph, tuple(inputs), tuple(tensor.name for tensor in function.outputs))


def _drop_assignments(graph: Any) -> None:
    """Takes what assigns to a variable from a graph; the layers that do so are refused later."""
    dropped = {node.name for node in graph.node if node.op.startswith("Assign")}
    if dropped:
        kept = [node for node in graph.node if node.name not in dropped]
        for node in kept:
            node.input[:] = [name for name in node.input if name.lstrip("^") not in dropped]
        graph.ClearField("node")
        graph.node.extend(kept)


def in_order(outputs: Sequence[Any]) -> list[Any]:
    """The operations that outputs need, each behind those that it reads.

    The order depends on the outputs alone, not on what TensorFlow's optimizer made of the graph.
    """
    readers: dict[Any, set[Any]] = {tensor.op: set() for tensor in outputs}
    waiting, found = list(readers), list[Any]()
    while waiting:
        operation = waiting.pop()
        for source in _read(operation):
            if source not in readers:
                waiting.append(source)
            readers.setdefault(source, set()).add(operation)
    done = set[Any]()
    ready = [tensor.op for tensor in outputs if not readers[tensor.op]]
    while ready:
        operation = ready.pop()
        if operation not in done:
            done.add(operation)
            found.append(operation)
            ready += [source for source in _read(operation) if readers[source] <= done]
    return found[::-1]


def _read(operation: Any) -> list[Any]:
    """The operations that one waits for."""
    return [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
