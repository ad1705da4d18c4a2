"""Threads of libtinsmith: the same codes from any number, none left behind, none missing."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from native_plans import ONE, native, plan_of, quantized, random_codes

from tinsmith_export.ir import ops
from tinsmith_export.ir.quantization import QuantWeights
from tinsmith_export.targets.native.plan import write_plan
from tinsmith_runtime.batch import Array, parts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts threads as Linux does")
TASKS = Path("/proc/self/task")


def model() -> tuple[bytes, Array]:
    """Two convolutions large enough to be divided, and inputs."""
    rng = np.random.default_rng(0)
    image = 19, 17, 16
    kernels = [rng.normal(size=shape).astype(np.float32) for shape in ((3, 3, 16, 24), (3, 3, 24))]
    nodes = (
        ops.Conv2D("a", ("x0",), (19, 17, 24), kernel=kernels[0], padding="same"),
        ops.DepthwiseConv2D(
            "y", ("a",), (19, 17, 24), kernel=kernels[1][..., None], padding="same"
        ),
    )
    weights = {
        name: QuantWeights(
            rng.integers(-127, 128, kernel.shape).astype(np.int8),
            np.full(24, 2**-7, np.float32),
            bias=rng.integers(-999, 999, 24).astype(np.int32),
        )
        for name, kernel in zip("ay", kernels, strict=True)
    }
    made = quantized(
        *nodes, shapes=[image], params=dict.fromkeys(("x0", "a", "y"), ONE), weights=weights
    )
    codes = parts(random_codes(made, 0, 4))[0]
    return write_plan(plan_of(made)), codes


def threads() -> int:
    return len(list(TASKS.iterdir()))


def answer(plan: bytes, codes: Array, count: int) -> list[bytes]:
    backend = native(plan, count)
    return [parts(backend.run(codes))[0].tobytes() for _ in range(20)]


def test_the_same_codes_from_any_number() -> None:
    plan, codes = model()
    (wanted,) = set(answer(plan, codes, 1))
    for count in (2, 3, 5, 16, 1000):
        assert set(answer(plan, codes, count)) == {wanted}


def test_threads_end_with_the_model() -> None:
    plan, codes = model()
    before = threads()
    alone = native(plan)
    alone.run(codes)
    assert threads() == before
    shared = native(plan, 3)
    assert threads() == before + 2
    shared.run(codes)
    assert threads() == before + 2
    del shared
    assert threads() == before


def test_idle_threads_sleep() -> None:
    plan, codes = model()
    backend = native(plan, 3)
    backend.run(codes)
    time.sleep(0.2)
    times = os.times()
    time.sleep(0.5)
    after = os.times()
    assert after.user + after.system - times.user - times.system < 0.1


def test_a_forked_child_starts_its_own() -> None:
    plan, codes = model()
    backend = native(plan, 3)
    wanted = parts(backend.run(codes))[0].tobytes()
    child = os.fork()
    if child == 0:
        same = all(parts(backend.run(codes))[0].tobytes() == wanted for _ in range(20))
        own = threads() == 3
        del backend
        os._exit(0 if same and own and threads() == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert parts(backend.run(codes))[0].tobytes() == wanted


def test_a_forked_child_that_only_ends() -> None:
    plan, _ = model()
    backend = native(plan, 2)
    child = os.fork()
    if child == 0:
        del backend
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
