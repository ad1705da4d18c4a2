"""A third target and its backend: the interpreter, behind the protocols.

Nothing in the packages knows of it. Its int8 file is a pickle of the quantized graph, its float
file one of the rewritten graph.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from tinsmith_export.errors import ConversionError
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.interpret import interpret
from tinsmith_export.ir.quantization import QuantGraph
from tinsmith_runtime.backends import Backend, BackendSpec, TensorInfo, signed
from tinsmith_runtime.batch import Array, Arrays, each, joined

SPEC = BackendSpec(
    name="numpy",
    title="numpy",
    formats=("interpreted",),
    packages=("numpy",),
    extra="numpy",
    opens="third:InterpreterBackend",
)


class InterpreterBackend(Backend):
    """A file of `InterpreterTarget`, computed in numpy, whatever the number of threads."""

    code_dtype, max_lsb, version = np.dtype(np.int8), 0, f"numpy {np.__version__}"

    def __init__(self, model: bytes, threads: int) -> None:
        self._model, self.inputs, self.outputs = pickle.loads(model)

    def run(self, batch: Arrays) -> Arrays:
        """See `Backend.run`."""
        if isinstance(self._model, QuantGraph):
            found = interpret(self._model, each(signed, batch))
            return joined([found[node.name] for node in self._model.graph.outputs])
        from tinsmith_export.frontend.predict import run
        from tinsmith_export.reference.rebuild import rebuild

        return run(rebuild(self._model), batch)

    def profile(self, batch: Arrays) -> tuple[Any, ...]:
        """See `Backend.profile`: it tells nothing."""
        return ()


def target() -> Any:
    """The target; what it derives from imports TensorFlow, which a board has not."""
    from tinsmith_export.targets.integers import quant_graph
    from tinsmith_export.targets.target import FloatModel, IntegerModel, Target

    class InterpreterTarget(Target):
        """Files for `InterpreterBackend`."""

        name, title, packages = "interpreted", "Interpreter", ("numpy",)

        def emit(self, model: IntegerModel) -> bytes:
            int8 = np.dtype(np.int8)
            ends = [
                tuple(
                    TensorInfo(one.name, one.sample_shape, int8, one.scale, one.zero_point)
                    for one in side
                )
                for side in (model.inputs, model.outputs)
            ]
            return pickle.dumps((quant_graph(model), *ends))

        def emit_float(self, model: FloatModel) -> bytes:
            float32 = np.dtype(np.float32)
            ends = [
                tuple(
                    TensorInfo(name, node.shape, float32, 0.0, 0)
                    for name, node in zip(names, nodes, strict=True)
                )
                for names, nodes in (
                    (model.inputs, model.graph.inputs),
                    (model.outputs, model.graph.outputs),
                )
            ]
            return pickle.dumps((model.graph, *ends))

        def integer_kernels(
            self, data: bytes, products: int, kept: Collection[str] = ()
        ) -> Mapping[str, int]:
            model: QuantGraph = pickle.loads(data)[0]
            integer = {node.name for node in model.graph.weighted} & model.weights.keys()
            if len(integer) != products - len(kept):
                raise ConversionError(f"numpy multiplies integers in {sorted(integer)}")
            return {"dot": len(integer)}

        def layer_outputs(self, data: bytes, graph: Graph, codes: Arrays) -> Mapping[str, Array]:
            return interpret(pickle.loads(data)[0], codes)

    return InterpreterTarget()
