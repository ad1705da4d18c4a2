"""Plans as a target."""

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from tinsmith_export.errors import ConversionError
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Function
from tinsmith_export.ir.quantization import QuantGraph
from tinsmith_export.targets.integers import quant_graph
from tinsmith_export.targets.native.arena import planned
from tinsmith_export.targets.native.build import build_plan
from tinsmith_export.targets.native.compute import PlanBackend
from tinsmith_export.targets.native.plan import Kind, PlanEnd, read_plan, write_plan
from tinsmith_export.targets.target import Estimate, FloatModel, Form, IntegerModel, Target
from tinsmith_export.targets.tflite.functions import function_tables
from tinsmith_export.targets.tflite.target import TfliteTarget
from tinsmith_runtime.backends import Backend, backends_of
from tinsmith_runtime.batch import Array, Arrays, parts

# They turn codes into real numbers, and round what they compute.
_IN_FLOAT = (Kind.FLOAT_PRODUCT, Kind.LAYER_NORM, Kind.NORMALIZE)
# As many outputs as a plan may have.
_OUTPUTS = 32


class NativeTarget(Target):
    """Plans, which libtinsmith runs. Every tensor of one holds codes: there is no float plan."""

    name = "native"
    title = "native"
    packages = ()
    has_float = False
    has_regions = False

    @property
    def ending(self) -> str:
        """See `Target.ending`."""
        return "plan"

    def emit(self, model: IntegerModel) -> bytes:
        """See `Target.emit`."""
        graph = quant_graph(model)
        tables = function_tables(TfliteTarget().emit(model), graph.graph, graph.params)
        ends = [[end.name for end in side] for side in (model.inputs, model.outputs)]
        return write_plan(build_plan(graph, tables, *ends))

    def emit_float(self, model: FloatModel) -> bytes:
        """See `Target.emit_float`."""
        raise ConversionError("a plan holds integers: there is no float one")

    def estimate(self, model: QuantGraph, _: Graph) -> Estimate:
        """See `Target.estimate`: a plan has the same tensors and operators, whatever the codes."""
        graph, codes = model.graph, np.random.default_rng(0)
        functions = [node.name for node in graph.layers if isinstance(node, Function)]
        # Equal ones would be written once.
        tables = {name: codes.integers(-128, 128, 256).astype(np.int8) for name in functions}
        inputs, outputs = [one.name for one in graph.inputs], [one.title for one in graph.outputs]
        plan = build_plan(model, tables, inputs, outputs)
        forms = {
            plan.tensors[one.output].name: Form((one.kind.name.lower(),), one.kind not in _IN_FLOAT)
            for one in plan.operators
        }
        return Estimate(forms, len(write_plan(plan)), arena_bytes=plan.arena_bytes)

    def integer_kernels(
        self, data: bytes, products: int, kept: Collection[str] = ()
    ) -> Mapping[str, int]:
        """See `Target.integer_kernels`; a plan says of each product what it is."""
        plan = read_plan(data)
        kinds = {plan.tensors[one.output].name: one.kind for one in plan.operators}
        floats = {name for name, kind in kinds.items() if kind == Kind.FLOAT_PRODUCT}
        if left := floats - set(kept):
            raise ConversionError(f"a plan still multiplies in float: {', '.join(sorted(left))}")
        if rounded := set(kept) - floats:
            raise ConversionError(f"a plan rounds layers kept float: {', '.join(sorted(rounded))}")
        integer = sum(kind in (Kind.PRODUCT, Kind.MATRIX_PRODUCT) for kind in kinds.values())
        if integer != products - len(kept):
            raise ConversionError(
                f"a plan: expected {products - len(kept)} integer products, found {integer}"
            )
        return {"product": integer}

    def arena_bytes(self, data: bytes) -> int | None:
        """See `Target.arena_bytes`."""
        return read_plan(data).arena_bytes

    def missing_engine(self) -> str:
        """See `Target.missing_engine`."""
        if any(spec.package for spec in backends_of(self.name)):
            return ""
        return (
            "the engine of native is not installed, so its plan was computed in numpy: "
            "pip install 'tinsmith-runtime[native]'"
        )

    def stand_in(self, data: bytes) -> Backend:
        """See `Target.stand_in`: the plan in numpy, in an arena as libtinsmith has it."""
        return PlanBackend(data, 1)

    def layer_outputs(self, data: bytes, graph: Graph, codes: Arrays) -> Mapping[str, Array]:
        """See `Target.layer_outputs`."""
        plan = read_plan(data)
        ends = [PlanEnd(one.output, plan.tensors[one.output].name) for one in plan.operators]
        found: dict[str, Array] = {}
        for start in range(0, len(ends), _OUTPUTS):
            piece = tuple(ends[start : start + _OUTPUTS])
            outputs = self._open(write_plan(planned(replace(plan, outputs=piece)))).run(codes)
            found |= zip((end.name for end in piece), parts(outputs), strict=True)
        return found

    def _open(self, data: bytes) -> Backend:
        spec = next((spec for spec in backends_of(self.name) if spec.package), None)
        return self.stand_in(data) if spec is None else spec.open(data, 1)
