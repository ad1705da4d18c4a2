"""Thirty thousand ways to break a model file, each from its seed alone, run through the self-test.

`python mutated_models.py BUNDLE FORMAT FIRST COUNT` breaks the int8 model of a bundle by each seed
in turn, `FORMAT` being `tflite` or `onnx`, and makes the hashes right again. It forks for each what
the self-test starts for each: the same function, with the same limit of memory, and 20 s. It prints
a line for each seed that ended badly, and in the end counts by kind of damage and outcome:

- refused: the engine or tinsmith says in one line what is wrong with the file;
- different: it computes, and the self-test names the first vector that differs;
- unchanged: it computes the golden integers, the damage being where nobody looks;
- crashed, late: the process was killed, and one line names the file and says by what;
- traceback, unclear: what there must be none of.
"""

import json
import os
import random
import select
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mutations
import numpy as np

from tinsmith_runtime import BackendError, Bundle, BundleError, read_bundle
from tinsmith_runtime.backends import backends_of
from tinsmith_runtime.batch import parts
from tinsmith_runtime.bundle import dump_manifest, parse_manifest
from tinsmith_runtime.probe import messages, process

SECONDS = 20
SIZES = (0, 1, 3, 4, 0xFF, 1 << 16, 1 << 30, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
SCALES = (0.0, -0.0, -1.0, 1e38, 1e-45, float("inf"), float("nan"), 1.0)
OPERATORS = ("Loop", "If", "Scan", "Reshape", "Gather", "Concat", "Expand", "Tile", "Resize", "Pad")


# TFLite: a flatbuffer, whose tables are found without their schema.


def tables(data: bytes) -> Iterator[tuple[int, int, list[int]]]:
    """Each table: its place, its vtable's place, and where in it there are fields."""
    for place in range(0, len(data) - 4, 4):
        vtable = place - struct.unpack_from("<i", data, place)[0]
        if not 0 <= vtable < len(data) - 4 or vtable == place:
            continue
        size, table_size = struct.unpack_from("<2H", data, vtable)
        if size % 2 or not 4 <= size <= 64 or not 4 <= table_size <= 256:
            continue
        if vtable + size > len(data):
            continue
        fields = struct.unpack_from(f"<{size // 2 - 2}H", data, vtable + 4)
        if all(field == 0 or 4 <= field < table_size for field in fields):
            yield place, vtable, [place + field for field in fields if field]


def patched(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


def table_field(data: bytes, rng: random.Random) -> bytes:
    """A number in a table: an operator's code, a type, an index, an enum, or an offset."""
    places = [field for _, _, fields in tables(data) for field in fields]
    new = rng.choice((rng.randbytes(1), bytes([rng.randrange(4)]), *(_u32(s) for s in SIZES)))
    return patched(data, rng.choice(places), new)


def vtable(data: bytes, rng: random.Random) -> bytes:
    """Where a table says that its fields are, or how large it is."""
    _, place, fields = rng.choice(list(tables(data)))
    entry = place + 2 * rng.randrange(2 + len(fields))
    return patched(data, entry, rng.choice((0, 2, 4, 8, 255, 65535)).to_bytes(2, "little"))


def offset(data: bytes, rng: random.Random) -> bytes:
    """A place that another is given for."""
    places = [i for i in range(0, len(data) - 4, 4) if 0 < _at(data, i) < len(data) - i]
    place = rng.choice(places)
    own = _at(data, place)
    choices = (0, own + 4, max(own - 4, 0), own + rng.randrange(4), len(data) - place, *SIZES)
    return patched(data, place, _u32(rng.choice(choices)))


def shape_or_length(data: bytes, rng: random.Random) -> bytes:
    """The length of a vector, or a number in one of few numbers, as shapes are."""
    places = [
        place
        for place in range(0, len(data) - 32, 4)
        if 1 <= (count := _at(data, place)) <= 6
        and all(0 < _at(data, place + 4 + 4 * i) <= 4096 for i in range(count))
    ]
    place = rng.choice(places)
    return patched(data, place + 4 * rng.randrange(1 + _at(data, place)), _u32(rng.choice(SIZES)))


def float_number(data: bytes, rng: random.Random) -> bytes:
    """A quantization parameter, or another number that looks like one."""
    places = [i for i in range(0, len(data) - 4, 4) if 1e-6 < _float(data, i) < 4]
    return patched(data, rng.choice(places), struct.pack("<f", rng.choice(SCALES)))


def _at(data: bytes, place: int) -> int:
    number: int = struct.unpack_from("<I", data, place)[0]
    return number


def _float(data: bytes, place: int) -> float:
    number: float = struct.unpack_from("<f", data, place)[0]
    return number


def _u32(number: int) -> bytes:
    return (number & 0xFFFFFFFF).to_bytes(4, "little")


# ONNX: protobuf, broken on the wire, or a message with a field that is wrong.


def wire(data: bytes, start: int, end: int, depth: int = 0) -> Iterator[tuple[int, int, int]]:
    """Each field: where its tag is, where its number or length is, and where its content ends."""
    found, place = [], start
    while place < end:
        tag = place
        number, place = _varint(data, place, end)
        kind = number & 7
        if not number >> 3 or kind in (3, 4, 6, 7):
            return
        value = place
        if kind == 0:
            _, place = _varint(data, place, end)
        elif kind == 2:
            length, place = _varint(data, place, end)
            if place + length > end:
                return
            found += list(wire(data, place, place + length, depth + 1)) if depth < 8 else []
            place += length
        else:
            place += 8 if kind == 1 else 4
        if place > end:
            return
        found.append((tag, value, place))
    yield from found


def _varint(data: bytes, place: int, end: int) -> tuple[int, int]:
    number = shift = 0
    while place < end:
        number |= (data[place] & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not data[place - 1] & 0x80:
            return number, place
    return number, end + 1


def wire_number(data: bytes, rng: random.Random) -> bytes:
    """A length, a number or a tag, which may take another number of bytes."""
    tag, value, end = rng.choice(list(wire(data, 0, len(data))))
    place, last = rng.choice(((tag, value), (value, _varint(data, value, len(data))[1])))
    if rng.random() < 0.2:
        return data[:tag] + rng.choice((b"", data[tag:end] * 2)) + data[end:]
    new = rng.choice((*SIZES, (1 << 63) - 1, (1 << 64) - 1, rng.randrange(300)))
    return data[:place] + _as_varint(new) + data[last:]


def _as_varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*encoded, number))


def message_field(data: bytes, rng: random.Random) -> bytes:
    """A field of a message with another value, lengths being right."""
    import onnx

    model = onnx.load_from_string(data)
    message, field = rng.choice(list(_fields(model)))
    strange: dict[str, Callable[[], Any]] = {
        "int": lambda: rng.choice((-1, 0, 1, 2, 7, 16, 255, 1 << 20, (1 << 31) - 1)),
        "float": lambda: rng.choice(SCALES),
        "str": lambda: rng.choice((*OPERATORS, "", "x" * 3000, "pixels", "é\n")),
        "bytes": lambda: rng.choice((b"", b"\xff", bytes(5000), rng.randbytes(16))),
    }
    held = getattr(message, field.name)
    value = held[0] if field.is_repeated and len(held) else held
    make = strange.get(type(value).__name__)
    if field.enum_type is not None:  # the package takes no other number
        make = lambda: rng.choice(field.enum_type.values).number  # noqa: E731
    if make is None or rng.random() < 0.1:
        message.ClearField(field.name)
    elif field.is_repeated:
        place = rng.randrange(len(held))
        held[place] = make()
    else:
        setattr(message, field.name, make())
    changed: bytes = model.SerializeToString()
    return changed


def operator(data: bytes, rng: random.Random) -> bytes:
    """A node that is another operator, or whose inputs are others."""
    import onnx

    model = onnx.load_from_string(data)
    node = rng.choice(model.graph.node)
    names = sorted({name for one in model.graph.node for name in (*one.input, *one.output)})
    if rng.random() < 0.4:
        node.op_type = rng.choice((*OPERATORS, *(one.op_type for one in model.graph.node)))
    elif rng.random() < 0.7 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice((*names, ""))
    else:
        node.output[rng.randrange(len(node.output))] = rng.choice((*names, ""))
    changed: bytes = model.SerializeToString()
    return changed


def tensor(data: bytes, rng: random.Random) -> bytes:
    """An initializer of another shape, type or content."""
    import onnx

    model = onnx.load_from_string(data)
    one = rng.choice(model.graph.initializer)
    what = rng.choice(("shape", "shape", "type", "data", "scale"))
    if what == "shape":
        sizes = (-1, 0, 1, 7, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1)
        one.dims[:] = [*one.dims, 1][: rng.randrange(1, 5)]
        one.dims[rng.randrange(len(one.dims))] = rng.choice(sizes)
    elif what == "type":
        one.data_type = rng.randrange(30)
    elif what == "data":
        one.raw_data = one.raw_data[: rng.randrange(len(one.raw_data) + 1)]
    else:
        one.raw_data = struct.pack("<f", rng.choice(SCALES))
    changed: bytes = model.SerializeToString()
    return changed


def _fields(message: Any) -> Iterator[tuple[Any, Any]]:
    for field, value in message.ListFields():
        yield message, field
        if field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                yield from _fields(one)


KINDS = {
    "tflite": (*mutations.DAMAGE, table_field, table_field, vtable, offset, shape_or_length,
               float_number),
    "onnx": (*mutations.DAMAGE, wire_number, wire_number, message_field, operator, tensor),
}  # fmt: skip


def mutate(original: Bundle, form: str, seed: int) -> tuple[str, Bundle]:
    """Breaks a bundle's int8 model; gives the kind of damage, and the bundle as it is read."""
    rng = random.Random(seed)
    damage = rng.choice(KINDS[form])
    name = f"model.int8.{form}"
    model = damage(original.files[name], rng) or b"x"
    contents = mutations.with_right_hashes(
        {**original.files, "manifest.json": dump_manifest(original.manifest)}, {name: model}
    )
    manifest = parse_manifest(contents.pop("manifest.json"))
    return damage.__name__, Bundle(manifest, contents)


def fork_probe(request: bytes, limits: messages.Limits) -> messages.Ending:
    """Does what the self-test's own process does, in a fork that need not import anything."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            process.confine(limits)
            reply = messages.answer_request(request)
        except BaseException:
            reply = b"TRACEBACK " + traceback.format_exc().encode(errors="replace")
        with os.fdopen(writable, "wb") as stream:
            stream.write(reply)
        os._exit(0)
    os.close(writable)
    deadline, reply = time.monotonic() + limits.seconds, b""
    while left := max(0, deadline - time.monotonic()):
        if select.select([readable], [], [], left)[0]:
            data = os.read(readable, 1 << 20)
            if not data:
                break
            reply += data
    os.close(readable)
    late = time.monotonic() >= deadline
    if late:
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return messages.Ending(reply, status, late)


def judge(bundle: Bundle, form: str) -> tuple[str, str]:
    """The outcome of a probe, and what was said."""
    name = f"model.int8.{form}"
    (variant,) = (v for v in bundle.manifest.variants if v.file == name)
    limits = messages.Limits(SECONDS, process.limits_of(bundle, variant).memory_bytes)
    (spec,) = backends_of(form)
    ended = fork_probe(messages.make_request(spec, bundle, variant), limits)
    if ended.reply.startswith(b"TRACEBACK "):
        return "traceback", ended.reply.decode()
    try:
        answer = messages.read_answer(spec, bundle.manifest, variant, ended, limits)
    except (BundleError, BackendError) as error:
        said = str(error)
        if "\n" in said or not said.isprintable() or len(said) > 3000:
            return "unclear", said
        if " took more than " in said:
            return "late", said
        if "kills the process that runs it" in said:
            return "crashed", said
        return ("unclear" if "gave no answer" in said else "refused"), said
    golden = parts(bundle.golden().outputs_int8)
    same = all(np.array_equal(*pair) for pair in zip(answer.outputs, golden, strict=True))
    return ("unchanged" if same else "different"), ""


def main(path: str, form: str, first: int, count: int) -> None:
    import onnx  # noqa: F401

    import tinsmith_runtime.backends.litert
    import tinsmith_runtime.backends.ort  # noqa: F401

    original = read_bundle(path)
    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for seed in range(first, first + count):
            kind, bundle = mutate(original, form, seed)
            outcome, said = judge(bundle, form)
            counts[kind, outcome] += 1
            if outcome not in ("refused", "unchanged", "different"):
                print(json.dumps([seed, kind, outcome, said]), flush=True)
            if stray := [str(one) for one in Path(folder).iterdir()]:
                print(json.dumps([seed, kind, "stray", ", ".join(stray)]), flush=True)
                counts[kind, "stray"] += 1
        os.chdir("/")
    outcomes = Counter[str]()
    for (kind, outcome), number in sorted(counts.items()):
        print(f"{kind:16} {outcome:10} {number:6}")
        outcomes[outcome] += number
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
