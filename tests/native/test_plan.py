"""What the loader refuses, by name; and what the backend does besides computing."""

from __future__ import annotations

import ctypes
import gc
import io
import re
import struct
import weakref
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from narrow import array
from native_plans import ONE, native, plan_of, plans_of_every_kind, quantized

from tinsmith_export.errors import ConversionError, TargetError
from tinsmith_export.ir import ops
from tinsmith_export.targets.native.arena import planned
from tinsmith_export.targets.native.compute import PlanBackend
from tinsmith_export.targets.native.plan import (
    Kind,
    Plan,
    PlanEnd,
    PlanOperator,
    PlanTensor,
    read_plan,
    write_plan,
)
from tinsmith_runtime.backends import create_backend, find_backend
from tinsmith_runtime.batch import joined, parts
from tinsmith_runtime.errors import BackendError, BundleError, UsageError

ROOT = Path(__file__).parents[2]
PLANS = plans_of_every_kind()
FORMAT = "it is no plan"
LIMIT = "it asks for more memory, operators or work"
CONSTANT = "a constant lies outside of the file, or has another size"
TENSOR = "a tensor lies outside of the arena"
OPERATOR = "an operator is not known, or has a parameter that cannot be"
SHAPE = "shapes do not fit an operator"
WEIGHTS = "could leave what exact arithmetic takes"
ORDER = "a tensor is read before it is written, or after it was overwritten"


def operator(plan: Plan, index: int = 0, **changes: Any) -> Plan:
    """A plan with another operator in the place of one."""
    operators = list(plan.operators)
    operators[index] = replace(operators[index], **changes)
    return replace(plan, operators=tuple(operators))


def tensor(plan: Plan, index: int, **changes: Any) -> Plan:
    """A plan with another tensor in the place of one."""
    tensors = list(plan.tensors)
    tensors[index] = replace(tensors[index], **changes)
    return replace(plan, tensors=tuple(tensors))


def words(kind: str, **values: int) -> Plan:
    """A plan whose first operator has other parameters; `w3=7` is the fourth."""
    found = list(PLANS[kind].operators[0].words)
    for place, value in values.items():
        found[int(place[1:])] = value % 2**32
    return operator(PLANS[kind], words=tuple(found))


def constants(kind: str, **values: bytes) -> Plan:
    """A plan whose first operator has other constants; `c0` is the first."""
    found = list(PLANS[kind].operators[0].constants)
    for place, value in values.items():
        found[int(place[1:])] = value
    return operator(PLANS[kind], constants=tuple(found))


def bits(value: float) -> int:
    (found,) = struct.unpack("<I", struct.pack("<f", value))
    return int(found)


def floats(kind: str, place: int, value: float) -> bytes:
    """A constant of floats, the first of them another."""
    return struct.pack("<f", value) + PLANS[kind].operators[0].constants[place][4:]


NETWORK = PLANS["network"]
PRODUCT = PLANS["product"].operators[0].constants
HUGE = 2**32 - 1
REFUSED: dict[str, tuple[Plan, str]] = {
    "an arena that is too small": (replace(NETWORK, arena_bytes=64), TENSOR),
    "an arena beyond all limits": (replace(NETWORK, arena_bytes=2**30 + 1), LIMIT),
    "a tensor off its alignment": (tensor(NETWORK, 1, offset=32), TENSOR),
    "a tensor behind the arena": (tensor(NETWORK, 1, offset=2**32 - 64), TENSOR),
    "a tensor without places": (tensor(NETWORK, 1, shape=(5, 0, 3)), TENSOR),
    "a tensor beyond all limits": (tensor(NETWORK, 1, shape=(2**16, 2**16, 2)), LIMIT),
    "a scale of 0": (tensor(NETWORK, 1, scale=0.0), TENSOR),
    "a scale below 0": (tensor(NETWORK, 1, scale=-1.0), TENSOR),
    "a scale that is no number": (tensor(NETWORK, 1, scale=float("nan")), TENSOR),
    "a scale without end": (tensor(NETWORK, 1, scale=float("inf")), TENSOR),
    "a zero point of 128": (tensor(NETWORK, 1, zero_point=128), TENSOR),
    "a constant of another size": (tensor(PLANS["weigh"], 1, data=b"12"), CONSTANT),
    "an input that is a constant": (
        replace(PLANS["weigh"], inputs=(PlanEnd(1, "x"),)), TENSOR),
    "an input that is no tensor": (operator(NETWORK, inputs=(99,)), OPERATOR),
    "no input": (operator(NETWORK, inputs=()), OPERATOR),
    "two inputs of one": (operator(NETWORK, inputs=(0, 0)), OPERATOR),
    "an output that is no tensor": (operator(NETWORK, output=99), OPERATOR),
    "a word that means nothing": (operator(PLANS["maximum"], words=(1,)), OPERATOR),
    "a constant that means nothing": (operator(PLANS["maximum"], constants=(b"1",)), OPERATOR),
    "a constant read by a maximum": (
        operator(PLANS["weigh"], kind=Kind.MAXIMUM, words=()), OPERATOR),
    "a kernel of no size": (words("product", w0=0), OPERATOR),
    "a kernel of another size": (words("product", w0=2), CONSTANT),
    "a stride of 0": (words("product", w2=0), OPERATOR),
    "a stride far away": (words("product", w2=2**24), OPERATOR),
    "a dilation of 0": (words("product", w4=0), OPERATOR),
    "a dilation far away": (words("product", w4=2**31), OPERATOR),
    "a padding below 0": (words("product", w6=-1), OPERATOR),
    "a padding far away": (words("product", w7=2**15), OPERATOR),
    "no groups": (words("product", w8=0), OPERATOR),
    "groups that do not divide": (words("product", w8=3), OPERATOR),
    "a weight of -128": (constants("product", c0=b"\x80" + PRODUCT[0][1:]), WEIGHTS),
    "sums beyond int32": (constants("product", c1=b"\xff\xff\xff\x7f" + PRODUCT[1][4:]), WEIGHTS),
    "the lowest bias": (constants("product", c1=b"\0\0\0\x80" + PRODUCT[1][4:]), WEIGHTS),
    "a factor of 256": (constants("product", c2=floats("product", 2, 256.0)), WEIGHTS),
    "a factor below 0": (constants("product", c2=floats("product", 2, -0.1)), WEIGHTS),
    "a factor that is no number": (
        constants("product", c2=floats("product", 2, float("nan"))), WEIGHTS),
    "a float weight without end": (
        constants("float_product", c0=floats("float_product", 0, float("inf"))), WEIGHTS),
    "a float bias that is no number": (
        constants("float_product", c1=floats("float_product", 1, float("nan"))), WEIGHTS),
    "a summand of more than 2^21": (words("add", w0=2**21 + 1), OPERATOR),
    "a shift of 12": (words("add", w2=12), OPERATOR),
    "a shift of 31": (words("add", w2=31), OPERATOR),
    "a product's factor of 256": (words("multiply", w0=bits(256.0)), OPERATOR),
    "a product's factor that is no number": (words("multiply", w0=bits(float("nan"))), OPERATOR),
    "a table of 255": (constants("table", c0=bytes(255)), CONSTANT),
    "a pool of no size": (words("max_pool", w1=0), OPERATOR),
    "a pool far away": (words("max_pool", w4=2**15), OPERATOR),
    "a padding beyond the output": (words("pad", w0=2), SHAPE),
    "a padding that overflows": (words("pad", w0=HUGE), SHAPE),
    "a cropping beyond the input": (words("crop", w1=2), SHAPE),
    "a cropping that overflows": (words("crop", w0=HUGE), SHAPE),
    "an upsampling to another size": (words("upsample", w0=3), SHAPE),
    "an upsampling by 0": (words("upsample", w1=0), SHAPE),
    "a block of 0": (words("depth_to_space", w0=0), SHAPE),
    "a block that overflows": (words("depth_to_space", w0=2**31), SHAPE),
    "fewer channels than the output has": (
        operator(PLANS["concatenate"], inputs=(0, 0)), SHAPE),
    "more channels than the output has": (
        operator(PLANS["concatenate"], inputs=(0, 0, 0, 0)), SHAPE),
    "a copy of fewer codes": (words("copy", w4=59), SHAPE),
    "a copy of no codes": (words("copy", w3=0), SHAPE),
    "a copy of codes without end": (words("copy", w2=2**31), SHAPE),
    "a copy from behind the input": (words("copy", w10=1), SHAPE),
    "a copy from before the input": (words("copy", w9=-4), SHAPE),
    "a copy from far away": (words("copy", w9=2**31 - 1), SHAPE),
    "a concatenation in no dimension": (words("concatenate", w0=6), OPERATOR),
    "a concatenation in another dimension": (words("concatenate", w0=1), SHAPE),
    "a gathering in no dimension": (words("gather", w0=6), OPERATOR),
    "a gathering in another dimension": (words("gather", w0=2), CONSTANT),
    "a gathering of another shape": (tensor(PLANS["gather"], 0, shape=(6, 6, 4)), SHAPE),
    "a gathering from behind the input": (
        constants("gather", c0=struct.pack("<3I", 0, 6, 0)), OPERATOR),
    "a gathering of fewer places": (constants("gather", c0=bytes(8)), CONSTANT),
    "a reshape to another size": (tensor(PLANS["reshape"], 1, shape=(29, 4)), SHAPE),
    "an epsilon of 0": (words("layer_norm", w0=0, w1=0), OPERATOR),
    "a gamma that is no number": (
        constants("layer_norm", c0=floats("layer_norm", 0, float("nan"))), WEIGHTS),
    "a table of half a row": (constants("embedding", c0=bytes(20)), CONSTANT),
    "a table of no rows": (constants("embedding", c0=b""), CONSTANT),
    "a row for each byte": (tensor(PLANS["embedding"], 0, shape=(5, 3, 4)), SHAPE),
    "more rows than numbers": (tensor(PLANS["embedding"], 1, shape=(5, 3, 6)), SHAPE),
    "a normalization over no places": (words("normalize", w2=0), OPERATOR),
    "a normalization over places that do not divide": (words("normalize", w2=7), SHAPE),
    "a normalization of no groups": (words("normalize", w3=0), OPERATOR),
    "a normalization of groups that do not divide": (words("normalize", w3=3), SHAPE),
    "a normalization that is centered twice": (words("normalize", w4=2), OPERATOR),
    "an epsilon that is no number": (words("normalize", w1=0x7FF80000), OPERATOR),
    "a sum of shapes that do not fit": (tensor(PLANS["add"], 0, shape=(5, 3, 4)), SHAPE),
    "a window over four dimensions": (
        tensor(PLANS["max_pool"], 0, shape=(5, 1, 6, 4)), SHAPE),
    "a tensor that nobody wrote": (replace(NETWORK, operators=NETWORK.operators[1:]), ORDER),
    "an output that nobody wrote": (replace(NETWORK, operators=NETWORK.operators[:-1]), ORDER),
    "a tensor that is written twice": (
        replace(NETWORK, operators=(*NETWORK.operators, NETWORK.operators[-1])), ORDER),
    "a convolution in place": (
        tensor(PLANS["product"], 1, offset=PLANS["product"].tensors[0].offset), ORDER),
    "a sum that writes over a part": (
        tensor(replace(PLANS["add"], arena_bytes=512), 2, offset=64), ORDER),
    "an input over another": (tensor(PLANS["add"], 1, offset=0), ORDER),
    "all that follows one arena": (
        tensor(NETWORK, 1, offset=NETWORK.tensors[0].offset), ORDER),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    plan, reason = REFUSED[name]
    with pytest.raises(BundleError, match=f"libtinsmith refuses the plan: .*{reason}"):
        native(write_plan(plan))


def test_reshapes_of_the_same_memory() -> None:
    """None of them overwrites another, or what both are made of: all can be read at the end."""
    source = PLANS["reshape"].tensors[0]
    flat = replace(PLANS["reshape"].tensors[1], offset=source.offset)
    plan = planned(
        replace(
            PLANS["reshape"],
            tensors=(source, flat, replace(flat, name="again"), replace(source, name="back")),
            operators=tuple(
                PlanOperator(Kind.RESHAPE, (x,), y, ()) for x, y in ((0, 1), (0, 2), (1, 3))
            ),
            outputs=tuple(PlanEnd(tensor, str(tensor)) for tensor in (0, 1, 2, 3)),
        )
    )
    assert {one.offset for one in plan.tensors} == {0}
    codes = np.random.default_rng(0).integers(-128, 128, (2, *source.shape), np.int8)
    data = write_plan(plan)
    for backend in (native(data), PlanBackend(data, 1)):
        for output in parts(backend.run(codes)):
            np.testing.assert_array_equal(output.reshape(codes.shape), codes)


def header(at: int, value: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + struct.pack("<I", value) + data[at + 4 :]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: b"", FORMAT),
        (lambda data: data[:63], FORMAT),
        (lambda data: data[:-1], FORMAT),
        (lambda data: data + b"\0", FORMAT),
        (lambda data: b"\0" + data[1:], FORMAT),
        (lambda data: data[:60] + b"\1" + data[61:], FORMAT),
        (header(8, 2), "a plan of another version than 1"),
        (header(12, 0), FORMAT),
        (header(20, 8193), LIMIT),
        (header(24, HUGE), LIMIT),
        (header(28, 2**15), FORMAT),
        (header(32, HUGE), LIMIT),
        (header(36, 0), FORMAT),
        (header(40, HUGE), LIMIT),
    ],
)
def test_another_file(change: Callable[[bytes], bytes], reason: str) -> None:
    with pytest.raises(BundleError, match=reason):
        native(change(write_plan(NETWORK)))


def test_every_shorter_file() -> None:
    data = write_plan(NETWORK)
    for size in range(len(data) - 3):  # what is left out then is no more than filling
        cut = header(12, size)(data[:size]) if size >= 16 else data[:size]
        with pytest.raises(BundleError):
            native(cut)


def test_work_is_limited() -> None:
    """A plan of a few kilobytes may not compute for hours."""
    tensors = (PlanTensor("x", (2**10, 2**10, 2**8), 1.0, 0), PlanTensor("y", (1, 1), 1.0, 0))
    plan = replace(
        PLANS["maximum"],
        tensors=tensors,
        operators=(PlanOperator(Kind.MAX_POOL, (0,), 1, (2**14, 2**14, 1, 1, 0, 0)),),
        inputs=(replace(PLANS["maximum"].inputs[0], tensor=0),),
        outputs=(replace(PLANS["maximum"].outputs[0], tensor=1),),
        arena_bytes=2**28 + 64,
    )
    plan = tensor(tensor(plan, 1, shape=(2**4, 2**4, 2**8), offset=0), 0, offset=2**16)
    plan = replace(plan, arena_bytes=2**28 + 2**16)
    with pytest.raises(BundleError, match=LIMIT):
        native(write_plan(plan))


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (
            ops.UpSampling2D("y", ("x0",), (2**10, 2**10, 2**10), size=(2**5, 2**5)),
            "a plan has 1,073,741,824 bytes of memory at most, this model has 1,074,790,400",
        ),
        (
            ops.MaxPooling2D(
                *("y", ("x0",), (2**5, 2**5, 2**10)),
                pool_size=(2**8, 2**8),
                strides=(1, 1),
                padding="same",
            ),
            "a plan has 17,179,869,184 steps a sample at most, this model has 68,719,476,736",
        ),
    ],
)
def test_a_plan_that_would_be_refused_is_not_written(node: ops.Node, said: str) -> None:
    model = quantized(node, shapes=[(2**5, 2**5, 2**10)], params={"x0": ONE, "y": ONE})
    with pytest.raises(TargetError, match=said):
        plan_of(model)


def test_the_page_the_header_and_the_writer_name_the_same_kinds() -> None:
    source = (ROOT / "runtime/native/src/plan.h").read_text()
    (body,) = re.findall(r"enum tin_kind \{(.*?)TIN_KINDS", source, re.DOTALL)
    assert re.findall(r"TIN_(\w+)", body) == [kind.name for kind in Kind]
    page = (ROOT / "docs/reference/plan.md").read_text().split("## Operators")[1]
    rows = re.findall(r"^\| (\d+) \| [a-z]", page, re.MULTILINE)
    assert [int(row) for row in rows if int(row)][-len(Kind) :] == list(Kind)


def test_every_kind_is_run() -> None:
    """Each by libtinsmith and in numpy, equal."""
    seen = set()
    for name, plan in PLANS.items():
        data = write_plan(plan)
        backends = native(data), PlanBackend(data, 1)
        rng = np.random.default_rng(0)
        codes = [rng.integers(-128, 128, (4, *x.shape), np.int8) for x in backends[0].inputs]
        found, wanted = (array(one.run(joined(codes))) for one in backends)
        np.testing.assert_array_equal(found, wanted, err_msg=name)
        assert backends[0].inputs == backends[1].inputs
        assert backends[0].outputs == backends[1].outputs
        operators = backends[0].profile(joined(codes))
        assert [one.name for one in operators] == [
            plan.tensors[one.output].name for one in plan.operators
        ]
        seen |= {one.kind for one in plan.operators}
    assert seen == {*Kind}


def test_a_plan_of_another_version_is_not_read_here_either() -> None:
    with pytest.raises(ConversionError, match="expected a plan of version 1"):
        read_plan(header(8, 2)(write_plan(NETWORK)))


def test_the_backend_is_found_and_refuses_batches() -> None:
    assert find_backend("native").package == "tinsmith_native"
    backend = create_backend("native", write_plan(PLANS["add"]), 1)
    good = np.zeros((2, 5, 6, 4), np.int8)
    backend.run((good, good))
    for batch in (good, (good, good[:1]), (good, good.astype(np.float32)), (good, good[..., :1])):
        with pytest.raises(BackendError, match=r"expected (2 arrays|int8 or uint8 \(N, 5, 6, 4\))"):
            backend.run(batch)
    with pytest.raises(UsageError, match="expected auto, native, litert, onnx; got 'nativ'"):
        find_backend("nativ")


def test_one_sample_is_as_many() -> None:
    """It is written to the library's own memory, and stays what it was in a later call."""
    backend = native(write_plan(NETWORK))
    rng = np.random.default_rng(0)
    codes = rng.integers(-128, 128, (7, 5, 6, 4), np.int8)
    wanted = array(backend.run(codes))
    found = [array(backend.run(codes[i : i + 1])) for i in range(7)]
    np.testing.assert_array_equal(np.concatenate(found), wanted)
    pixels = (codes.astype(np.int16) + 128).astype(np.uint8)
    found = [array(backend.run(pixels[i : i + 1])) for i in range(7)]
    np.testing.assert_array_equal(np.concatenate(found), wanted)
    with pytest.raises(BackendError, match=r"expected int8 or uint8 .* got float32"):
        backend.run(codes[:1].astype(np.float32))


def test_a_model_is_freed_with_its_backend() -> None:
    data = write_plan(NETWORK)
    backend = native(data)
    freed = weakref.ref(backend)
    del backend
    gc.collect()
    assert freed() is None
    for _ in range(200):  # what is not freed would add up
        native(data).run(np.zeros((1, 5, 6, 4), np.int8))


def found_in(bundle: bytes, missing: bytes | None = None) -> bytes:
    """The plan that libtinsmith finds in a bundle; where it finds none, `missing` or an error."""
    from tinsmith_native.library import LIBRARY

    plan, size = ctypes.c_void_p(), ctypes.c_size_t()
    status = LIBRARY.tin_find_plan(bundle, len(bundle), ctypes.byref(plan), ctypes.byref(size))
    if status and missing is not None:
        return missing
    if status:
        raise ValueError(LIBRARY.tin_error_text(status).decode())
    return ctypes.string_at(plan.value or 0, size.value)


def zipped(compression: int = zipfile.ZIP_STORED, name: str = "model.int8.plan") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("manifest.json", b"{}" * 99)
        archive.writestr(name, write_plan(NETWORK))
        archive.writestr("golden.npz", b"golden")
    return buffer.getvalue()


def test_the_library_finds_the_plan_in_a_bundle() -> None:
    assert found_in(zipped()) == write_plan(NETWORK)
    for bundle in (zipped(zipfile.ZIP_DEFLATED), zipped(name="model.int8.pla"), b"", b"PK" * 20):
        with pytest.raises(ValueError, match=FORMAT):
            found_in(bundle)


def test_a_bundle_that_is_damaged_or_hostile() -> None:
    """Whatever it says of itself, what is found lies in it, and is the plan or refused."""
    bundle, plan, rng = zipped(), write_plan(NETWORK), np.random.default_rng(0)
    for _ in range(20_000):
        changed = bytearray(bundle)
        # Mostly where a zip says what lies where: at its end.
        last = len(bundle) if rng.random() < 0.1 else 330
        for place in rng.integers(1, last, rng.integers(1, 4)):
            changed[-place] = rng.integers(0, 256)
        assert found_in(bytes(changed), missing=plan) == plan
