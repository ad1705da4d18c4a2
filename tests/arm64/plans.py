"""Plans, inputs for them, and the codes that every machine has to give: numpy's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from native.test_kernels import Case, product
from native_plans import params32, plan_of, plans_of_every_kind

from tinsmith_export.targets.native.compute import PlanBackend
from tinsmith_export.targets.native.plan import write_plan
from tinsmith_runtime import read_bundle
from tinsmith_runtime.batch import joined, parts

DIGITS = Path(__file__).parents[1] / "data" / "digits.tin"
SAMPLES = 3
PRODUCTS = 40


@dataclass(frozen=True, eq=False)
class Vectors:
    """A plan, with what goes in and what comes out: `int8 (SAMPLES, …)` each."""

    plan: bytes
    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]


def vectors() -> dict[str, Vectors]:
    """One for each kind of operator, random products, and a bundle's plan."""
    plans = {name: write_plan(plan) for name, plan in plans_of_every_kind().items()}
    for seed in range(PRODUCTS):
        plans[f"product{seed}"] = write_plan(plan_of(product(_case(seed))))
    plans["digits"] = read_bundle(DIGITS).files["model.int8.plan"]
    rng = np.random.default_rng(0)
    found = {}
    for name, data in plans.items():
        backend = PlanBackend(data, 1)
        shapes = [(SAMPLES, *one.shape) for one in backend.inputs]
        inputs = [rng.integers(-128, 128, shape, np.int8) for shape in shapes]
        found[name] = Vectors(data, tuple(inputs), parts(backend.run(joined(inputs))))
    return found


def save(path: Path, found: dict[str, Vectors]) -> None:
    """Writes them for `check_native.py`."""
    arrays: dict[str, Any] = {}
    for name, one in found.items():
        arrays[f"{name}/plan"] = np.frombuffer(one.plan, np.uint8)
        for kind, tensors in (("input", one.inputs), ("output", one.outputs)):
            arrays |= {f"{name}/{kind}{place}": array for place, array in enumerate(tensors)}
    np.savez(path, **arrays)


def _case(seed: int) -> Case:
    """Convolutions, depthwise and dense layers that fill a vector, and some that do not."""
    rng = np.random.default_rng(seed)

    def pair(low: int, high: int) -> tuple[int, int]:
        one, other = rng.integers(low, high, 2)
        return int(one), int(other)

    dense, depthwise = seed % 4 == 0, seed % 4 == 1
    return Case(
        image=(1, 1) if dense else pair(6, 14),
        kernel=(1, 1) if dense else pair(1, 4),
        strides=pair(1, 3),
        dilation=pair(1, 2),
        padding="same" if seed % 2 else "valid",
        groups=1 + int(seed % 10 == 2),
        inputs=int(rng.integers(1, 40)),
        outputs=int(rng.integers(1, 3)) if depthwise else int(rng.integers(1, 40)),
        depthwise=depthwise,
        around=((0, 0), (0, 0)),
        weights=("random", "sparse", "high", "low")[seed // 4 % 4],
        seed=seed,
        source=params32(0.1, int(rng.integers(-128, 128))),
        output=params32(0.2, int(rng.integers(-128, 128))),
    )
