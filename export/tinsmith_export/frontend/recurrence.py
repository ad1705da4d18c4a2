"""Recurrent layers, computed step by step while a model is traced, without a loop.

What a gate multiplies, the step's input and the state before it, is joined first: so its sum is
rounded once, and all steps multiply by the same weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import tensorflow as tf
import tf_keras

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.frontend.memory import Memory

MAX_STEPS = 64
"""How many steps are unrolled at most."""

Layer: TypeAlias = Any
Tensor: TypeAlias = Any
"""`(batch, 1, steps, channels)` here, an image of one row; a step's or a state's has one step."""
States: TypeAlias = list[Tensor | None]
"""One for each that a cell has, its output first; none stands for zeros."""

_LIBRARIES = (keras.layers, tf_keras.layers)
RECURRENT = ("LSTM", "GRU", "SimpleRNN", "RNN")
"""Layers that are computed step by step."""


@dataclass(frozen=True, eq=False)
class _Cell:
    """What a recurrent layer computes in each step.

    Attributes:
        sequences: of which a step reads its part.
        states: how many there are.
        step: from these parts and the states before to the states behind.
    """

    sequences: tuple[Tensor, ...]
    states: int
    step: Callable[[list[Tensor], States], States]


def step_by_step(
    layer: Layer, memory: Memory | None = None, refuse: Callable[[str], None] | None = None
) -> Callable[..., Any] | None:
    """A function to trace in the place of a layer's own `call`; none if it needs no other.

    Args:
        layer: any layer.
        memory: where a recurrent layer's states come from, in a stream; zeros without.
        refuse: takes the reason, if the layer cannot be computed step by step; what is traced
            then has only the shape of what the layer gives. Without, the reason is raised.
    """
    if any(type(layer) is getattr(one, name) for one in _LIBRARIES for name in RECURRENT):

        def compute(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return _recurrent(layer, memory, inputs, *args, **kwargs)
            except UnsupportedLayerError as error:
                if refuse is None:
                    raise
                refuse(str(error))
                return _of_its_shape(layer, tf.nest.flatten(inputs)[0])

        return compute
    if any(type(layer) is one.TimeDistributed for one in _LIBRARIES):
        return lambda inputs, training=None, mask=None: _time_distributed(layer, inputs)
    return None


def inner_layers(layer: Layer) -> tuple[Layer, ...]:
    """The layers that a wrapper calls."""
    names = ("forward_layer", "backward_layer", "layer")
    return tuple(one for one in (getattr(layer, name, None) for name in names) if callable(one))


def _recurrent(
    layer: Layer,
    memory: Memory | None,
    inputs: Tensor,
    initial_state: Any = None,
    mask: Any = None,
    training: Any = None,
    constants: Any = None,
) -> Any:
    """What a recurrent layer gives for `(batch, steps, channels)`."""
    if isinstance(inputs, list | tuple):  # so tf_keras hands states over
        inputs, initial_state = inputs[0], inputs[1:]
    given: list[Tensor] = [] if initial_state is None else tf.nest.flatten(initial_state)
    _require_unrolled(layer, inputs, mask)
    if memory is not None:
        _require_stream(layer, given)
        given = memory.take(inputs, tf.nest.flatten(layer.cell.state_size))
    sequence, states = inputs[:, None], [state[:, None, None] for state in given]
    backwards, last, outputs = layer.go_backwards, list[Any](), list[Any]()
    for one in getattr(layer.cell, "cells", [layer.cell]):
        cell = _cell(layer, one, sequence)
        before: States = states[: cell.states] or [None] * cell.states
        states, outputs = states[cell.states :], []
        steps = range(sequence.shape[2])
        for step in reversed(steps) if backwards else steps:
            parts = [part[:, :, step : step + 1] for part in cell.sequences]
            before = cell.step(parts, before)
            outputs.append(before[0])
        last += before
        backwards, sequence = False, tf.concat(outputs, 2)
    if memory is not None:
        memory.keep(layer, [state[:, 0, 0] for state in last])
    found = sequence[:, 0] if layer.return_sequences else outputs[-1][:, 0, 0]
    return [found, *(state[:, 0, 0] for state in last)] if layer.return_state else found


def _of_its_shape(layer: Layer, inputs: Tensor) -> Any:
    """Some number in the shape of each tensor that a recurrent layer gives."""
    shapes = layer.compute_output_shape(tuple(inputs.shape))
    several = layer.return_state
    found = [
        tf.broadcast_to(tf.reduce_sum(inputs), tuple(tf.TensorShape(shape)))
        for shape in (shapes if several else [shapes])
    ]
    return found if several else found[0]


def _require_unrolled(layer: Layer, inputs: Tensor, mask: Any) -> None:
    """Refuses what cannot be computed step by step."""
    steps, needed = inputs.shape[1], ""
    if any(one is not None for one in tf.nest.flatten(mask)):
        needed = (
            "a mask, which skips steps: leave Masking and mask_zero=True out, and give it "
            "sequences of one length"
        )
    elif getattr(layer, "stateful", False):
        needed = "the state of the call before: build it with stateful=False"
    elif getattr(layer, "time_major", False):
        needed = "time in the first dimension: build it with time_major=False"
    elif steps is None:
        needed = "a fixed number of steps: say it in the model's Input"
    elif steps > MAX_STEPS:
        needed = (
            f"{steps} steps, more than the {MAX_STEPS} that are unrolled: shorten its sequences, "
            "by a Conv1D with strides or a pooling before it"
        )
    if needed:
        raise _refused(layer, needed)


def _require_stream(layer: Layer, given: Sequence[Tensor]) -> None:
    """Refuses what a stream has not."""
    if layer.go_backwards:
        raise _refused(
            layer, "the end of the sequence first, which a stream has not: go_backwards=False"
        )
    if given:
        raise _refused(
            layer, "a state that the model computes, where a stream has that of the step before"
        )


def _refused(layer: Layer, needed: str) -> UnsupportedLayerError:
    return UnsupportedLayerError(
        f"layer `{layer.name}` ({type(layer).__name__}) cannot be compiled: it needs {needed} "
        "(docs/reference/layers.md lists the layers that compile)"
    )


def _cell(layer: Layer, cell: Layer, sequence: Tensor) -> _Cell:
    """What a cell of Keras's own computes."""
    # A product of its own, by 1: the quantizer makes inputs as large as states by it.
    ones = tf.ones((1, 1, sequence.shape[-1], 1), sequence.dtype)
    sequence = tf.nn.depthwise_conv2d(sequence, ones, (1, 1, 1, 1), "VALID")
    for name, build in (("LSTM", _lstm), ("GRU", _gru), ("SimpleRNN", _simple)):
        if any(type(cell) is getattr(one, f"{name}Cell") for one in _LIBRARIES):
            return build(cell, sequence)
    raise _refused(layer, f"a cell of another kind than Keras's own, {type(cell).__name__}")


def _weights(values: Any, gates: int, like: Tensor) -> list[Tensor]:
    """The part of each gate."""
    return list(tf.split(tf.cast(tf.convert_to_tensor(values), like.dtype), gates, -1))


def _products(
    cell: Layer, gates: int, like: Tensor, biases: list[Tensor] | None
) -> list[Callable[[Tensor], Tensor]]:
    """The product of each gate with the input and the state, joined."""
    kernels, recurrent = (
        _weights(values, gates, like) for values in (cell.kernel, cell.recurrent_kernel)
    )
    joined = [tf.concat(pair, 0) for pair in zip(kernels, recurrent, strict=True)]
    return [
        _product(kernel, biases[gate] if biases else None) for gate, kernel in enumerate(joined)
    ]


def _product(kernel: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    kernel = kernel[None, None]

    def multiply(source: Tensor) -> Tensor:
        found = tf.nn.conv2d(source, kernel, 1, "VALID")
        return found if bias is None else tf.nn.bias_add(found, bias)

    return multiply


def _joined(source: Tensor, state: Tensor | None, units: int) -> Tensor:
    """A step's input and a state behind each other."""
    if state is None:
        return tf.pad(source, ((0, 0), (0, 0), (0, 0), (0, units)))
    return tf.concat([source, state], -1)


def _simple(cell: Layer, sequence: Tensor) -> _Cell:
    biases = _weights(cell.bias, 1, sequence) if cell.use_bias else None
    (product,) = _products(cell, 1, sequence, biases)

    def step(parts: list[Tensor], states: States) -> States:
        return [cell.activation(product(_joined(parts[0], states[0], cell.units)))]

    return _Cell((sequence,), 1, step)


def _lstm(cell: Layer, sequence: Tensor) -> _Cell:
    """Long short-term memory (Hochreiter and Schmidhuber 1997), with a forget gate."""
    biases = _weights(cell.bias, 4, sequence) if cell.use_bias else None
    products = _products(cell, 4, sequence, biases)

    def step(parts: list[Tensor], states: States) -> States:
        output, carry = states
        joined = _joined(parts[0], output, cell.units)
        store, forget, new, show = (product(joined) for product in products)
        added = cell.recurrent_activation(store) * cell.activation(new)
        carry = added if carry is None else cell.recurrent_activation(forget) * carry + added
        return [cell.recurrent_activation(show) * cell.activation(carry), carry]

    return _Cell((sequence,), 2, step)


def _gru(cell: Layer, sequence: Tensor) -> _Cell:
    """The gated recurrent unit (Cho et al. 2014), its reset before or after the product."""
    inner: list[Tensor] | None = None
    biases: list[Tensor] | None = None
    if cell.use_bias and cell.reset_after:
        given, inner = (
            [row[0] for row in _weights(cell.bias[i : i + 1], 3, sequence)] for i in (0, 1)
        )
        biases = [one + other for one, other in zip(given, inner, strict=True)]
    elif cell.use_bias:
        biases = _weights(cell.bias, 3, sequence)
    update, reset, product = _products(cell, 3, sequence, biases)
    sequences: tuple[Tensor, ...] = (sequence,)
    if cell.reset_after:
        *_, kernel = _weights(cell.kernel, 3, sequence)
        *_, recurrent = _weights(cell.recurrent_kernel, 3, sequence)
        sequences += (_product(kernel, given[2] if inner else None)(sequence),)
        again = _product(recurrent, inner[2] if inner else None)

    def candidate(parts: list[Tensor], state: Tensor | None, kept: Tensor) -> Tensor:
        if not cell.reset_after:
            return product(_joined(parts[0], None if state is None else kept * state, cell.units))
        if state is not None:
            return parts[1] + kept * again(state)
        return parts[1] if inner is None else parts[1] + kept * inner[2]

    def step(parts: list[Tensor], states: States) -> States:
        (state,) = states
        joined = _joined(parts[0], state, cell.units)
        old = cell.recurrent_activation(update(joined))
        kept = cell.recurrent_activation(reset(joined))
        found = (1 - old) * cell.activation(candidate(parts, state, kept))
        return [found if state is None else old * state + found]

    return _Cell(sequences, 1, step)


def _time_distributed(layer: Layer, inputs: Tensor) -> Tensor:
    """One layer on every step; a dense layer looks at the last dimension alone anyway."""
    if any(type(layer.layer) is one.Dense for one in _LIBRARIES):
        return layer.layer(inputs)
    found = [layer.layer(step)[:, None] for step in tf.unstack(inputs, axis=1)]
    return tf.concat(found, 1)
