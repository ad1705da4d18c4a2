"""What a target is, and what it is given to write."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import tf_keras
from numpy.typing import NDArray

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Reshape
from tinsmith_export.ir.quantization import QuantGraph
from tinsmith_export.quantize.recipe import Quantized
from tinsmith_runtime.backends import Backend
from tinsmith_runtime.batch import Array, Arrays
from tinsmith_runtime.bundle import Input, Output


@dataclass(frozen=True)
class Product:
    """One operator that multiplies by a constant, with the integers that every target carries.

    Attributes:
        operator: `CONV_2D` for example, as TFLite calls it.
        layer: the name of the graph's layer.
        integer: whether input, weights and output are int8.
        exact: whether kernels for int8 weights add its products in 32 bits on every x86.
        weights: `int8` or `float32`, output channel first (depthwise: last).
        weight_scale: `float32 (channels,)` or `(1,)`, empty in a float model.
        weight_zero_point: 0, but for `MUL`.
        bias: `int32` or `float32 (channels,)`, or none.
        input: scale and zero point of what it reads.
        output: scale and zero point of what it gives.
    """

    operator: str
    layer: str
    integer: bool
    exact: bool
    weights: NDArray[Any]
    weight_scale: NDArray[np.float32]
    weight_zero_point: int
    bias: NDArray[Any] | None
    input: tuple[float, int]
    output: tuple[float, int]


@dataclass(frozen=True, eq=False)
class FloatModel:
    """A rewritten graph, to be written in float.

    Attributes:
        graph: rewritten.
        reference: the same as a model of tf_keras.
        inputs: the names of its inputs in the file.
    """

    graph: Graph
    reference: tf_keras.Model
    inputs: tuple[str, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of its outputs in the file."""
        return tuple(node.title for node in self.graph.outputs)


@dataclass(frozen=True, eq=False)
class IntegerModel:
    """A quantized graph with its integers, to be written in int8.

    Attributes:
        quantized: the graph and its quantization parameters.
        inputs: what the file takes.
        outputs: what the file gives.
        products: layer name to the integers that it multiplies by.
        converted: what TensorFlow's converter made of it, a TFLite file: `products` stand in it.
    """

    quantized: Quantized
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    products: Mapping[str, Product]
    converted: bytes

    @property
    def kept(self) -> tuple[str, ...]:
        """The names of the layers that are kept float."""
        return tuple(node.name for node in self.quantized.kept)


@dataclass(frozen=True)
class Form:
    """What an operator of the graph becomes in the int8 file of a target.

    Attributes:
        operators: as the file calls them, without those that quantize and dequantize.
        integer: whether its engine computes on codes alone; else in float between two roundings.
    """

    operators: tuple[str, ...]
    integer: bool


@dataclass(frozen=True)
class Estimate:
    """What can be told of a target's files before anything is measured or converted.

    Attributes:
        forms: of each operator that is one in the int8 file, by its name; others are part of these.
        int8_bytes: the size of the int8 file, about.
        float_bytes: that of the float file, about; `None` if there is none.
        arena_bytes: how much memory the tensors share, where the int8 file says.
    """

    forms: Mapping[str, Form]
    int8_bytes: int
    float_bytes: int | None = None
    arena_bytes: int | None = None


class Target(ABC):
    """A kind of model file: how it is written, which kernels run, what each layer gives.

    Attributes:
        name: what `--targets` calls it, and the `format` of its files in the bundle.
        title: for a person.
        packages: distributions besides TensorFlow's that write and run it.
        has_float: whether there are float files too.
        has_regions: whether an int8 file may have tensors that are not rounded, between layers kept
            float.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    has_float: ClassVar[bool] = True
    has_regions: ClassVar[bool] = True

    @property
    def ending(self) -> str:
        """That of its files."""
        return self.name

    @abstractmethod
    def emit(self, model: IntegerModel) -> bytes:
        """Writes an int8 file.

        Raises:
            TargetError: no file of this kind can hold the model.
        """

    @abstractmethod
    def emit_float(self, model: FloatModel) -> bytes:
        """Writes a float file, where there are any."""

    @abstractmethod
    def integer_kernels(
        self, data: bytes, products: int, kept: Collection[str] = ()
    ) -> Mapping[str, int]:
        """Checks that an int8 file's engine, on this machine, multiplies integers in every layer.

        Args:
            data: an int8 file.
            products: how many layers multiply by weights.
            kept: those of them that must be float.

        Returns:
            Integer kernel to how often the engine has it.

        Raises:
            ConversionError: a float kernel is left, named, or a product is missing, or a layer
                that was to be kept float is not.
        """

    def estimate(self, model: QuantGraph, graph: Graph) -> Estimate | None:
        """Tells what a model becomes, without converting it and without an engine.

        Args:
            model: as `unmeasured` gives it; its scales say nothing.
            graph: what it was made of, which float files hold.

        Returns:
            The estimate; `None` if the target does not tell.

        Raises:
            TargetError: no file of this kind can hold the model.
        """
        return None

    def arena_bytes(self, data: bytes) -> int | None:
        """How much memory the tensors of an int8 file share, where the file says."""
        return None

    def cpu_note(self) -> str:
        """What the engine does differently on this machine's CPU, in words; nothing if empty."""
        return ""

    def layer_tensors(self, data: bytes, graph: Graph) -> Mapping[str, str]:
        """Which layer the tensors of a file belong to, for a viewer that shows such files.

        Args:
            data: an int8 file.
            graph: what it was made of.

        Returns:
            The name of the tensor that an operator gives, to that of the layer it is part of, in
            the order of computation; nothing if the target does not tell.
        """
        return {}

    def missing_engine(self) -> str:
        """Says what to install to run its files here; nothing if empty."""
        return ""

    def stand_in(self, data: bytes) -> Backend | None:
        """Computes an int8 file where its engine is not installed; `None` if nothing else can."""
        return None

    @abstractmethod
    def layer_outputs(self, data: bytes, graph: Graph, codes: Arrays) -> Mapping[str, Array]:
        """Runs an int8 file so that it gives the output of every layer.

        Args:
            data: an int8 file.
            graph: what it was made of.
            codes: inputs, `int8 (N, …)`, as many as the graph has.

        Returns:
            Layer name to `int8 (N, …)` codes, channels last; layers that are part of another in
            this target are left out.
        """


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A model file in memory.

    Attributes:
        target: what it was written for.
        precision: `int8` or `float`.
        data: its bytes.
    """

    target: Target
    precision: Literal["int8", "float"]
    data: bytes

    @property
    def name(self) -> str:
        """What it is called in the bundle."""
        return f"model.{self.precision}.{self.target.ending}"


def output_layers(graph: Graph) -> dict[str, str]:
    """The layer that computes each output, by the output's name in the file."""
    found = {}
    for output in graph.outputs:
        last = graph.node(output.inputs[0])
        while isinstance(last, Reshape):  # a view of what the layer before gives
            last = graph.node(last.inputs[0])
        found[output.title] = last.name
    return found
