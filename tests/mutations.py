"""Ten thousand ways to break a bundle, each of them from its seed alone.

`python mutations.py BUNDLE FOLDER FIRST COUNT [KIND ...]` breaks a bundle by each seed in turn, in
one of these ways or in any, reads what came of it, and prints a line a seed: the seed and the kind
of damage before, what the reader made of it after. So the last line of a process that died names
the seed that killed it. `mutate.py` counts the lines, and breaks images too.
"""

import faulthandler
import hashlib
import io
import json
import os
import random
import resource
import shutil
import stat
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tinsmith_runtime import Bundle, BundleError, open_model, read_bundle

Contents = dict[str, bytes]

# Values that a field is given instead of its own; a field that takes one keeps its meaning's type.
STRANGE: tuple[object, ...] = (
    *(
        None,
        True,
        "",
        "\x00",
        "../x",
        "/etc/passwd",
        "x" * 5000,
        -1,
        0,
        1,
        7,
        255,
        1 << 31,
        1 << 63,
    ),
    *(10**400, 1.5, -0.0, 1e308, [], {}, [[]], [None], {"": ""}, "uint8", "NHWC", "a" * 64),
)
BOMB_BYTES = 1 << 30


def seal(tree: dict[str, Any]) -> bytes:
    """A manifest with its own hash, as tinsmith writes it."""
    text = json.dumps({k: v for k, v in tree.items() if k != "manifest_sha256"}, indent=1)
    text = text.removesuffix("\n}")
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{text},\n "manifest_sha256": "{digest}"\n}}\n'.encode()


def zipped(entries: list[tuple[str, bytes]], **fields: object) -> bytes:
    """An uncompressed zip of these entries; `fields` are set on the last of them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name twice
        for name, data in entries:
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.create_system = 0o644 << 16, 3
            if (name, data) == entries[-1]:
                for field, value in fields.items():
                    setattr(entry, field, value)
            archive.writestr(entry, data)
    return buffer.getvalue()


# Damage to bytes: what a bad card, a cut transfer or a careless tool does.


def flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def insert(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.randbytes(rng.choice((1, 2, 30, 5000))) + data[place:]


def delete(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + data[place + rng.choice((1, 2, 30, 5000)) :]


def repeat(data: bytes, rng: random.Random) -> bytes:
    first, last = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:last] + data[first:last] + data[last:]


DAMAGE = (flip, truncate, insert, delete, repeat)


# Zips that say something else than what they hold.


def zip_field(contents: Contents, rng: random.Random) -> bytes:
    """Another number in one of the fields of the headers, the directory or the end."""
    data = bytearray(zipped(list(contents.items())))
    # Where each kind of record has fields, and how wide they are.
    layouts = {
        b"PK\3\4": ((4, 2), (6, 2), (8, 2), (10, 4), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
        b"PK\1\2": (*((4 + 2 * i, 2) for i in range(6)), *((16 + 4 * i, 4) for i in range(3)),
                    *((28 + 2 * i, 2) for i in range(5)), (38, 4), (42, 4)),
        b"PK\5\6": ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
    }  # fmt: skip
    magic = rng.choice(list(layouts))
    places = [i for i in range(len(data)) if data[i : i + 4] == magic]
    for _ in range(rng.choice((1, 1, 2, 3))):
        offset, width = rng.choice(layouts[magic])
        place = rng.choice(places) + offset
        top = (1 << 8 * width) - 1
        value = rng.choice((0, 1, 8, 12, 45, len(data), top // 2, top, rng.randrange(top)))
        data[place : place + width] = min(value, top).to_bytes(width, "little")
    return bytes(data)


def zip_entries(contents: Contents, rng: random.Random) -> bytes:
    """Entries twice, under names that lead outside, as links, in another order, one too many."""
    entries = list(contents.items())
    name, data = rng.choice(entries)
    strange = rng.choice(
        (name, f"/{name}", f"../{name}", f"..\\{name}", f"./{name}", f"{name}/", name.upper(),
         "C:\\x", "\\\\host\\x", "é", "x" * 9000, "manifest.sig", "manifest.json/x")
    )  # fmt: skip
    what = rng.choice(("add", "double", "link", "order", "comment", "rename", "zip64"))
    if what == "rename":
        return zipped([(strange if n == name else n, d) for n, d in entries])
    if what == "order":
        return zipped([*entries[1:], entries[0]])
    if what == "link":
        return zipped(
            [*((n, d) for n, d in entries if n != name), (name, b"/etc/passwd")],
            external_attr=(stat.S_IFLNK | 0o777) << 16,
        )
    if what == "comment":
        return zipped(entries, comment=rng.randbytes(rng.choice((1, 60_000))))
    if what == "zip64":
        packed = zipped(entries)
        record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, 1 << 40, 1 << 40)
        locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(packed) - 22, 1)
        return packed[:-22] + record + locator + packed[-22:]
    other = data if rng.random() < 0.5 else flip(data, rng)
    return zipped([*entries, (name if what == "double" else strange, other)])


def zip_bomb(contents: Contents, rng: random.Random) -> bytes:
    """A gigabyte of zeros where a file should be, or a directory of entries without end."""
    entries = list(contents.items())
    name = rng.choice(list(contents))
    if rng.random() < 0.5:  # compressed: the headers' sizes are honest, the content is not there
        emptied = bytearray(zipped([*((n, d) for n, d in entries if n != name), (name, b"")]))
        method, method_size = rng.choice((8, 12, 14, 0)), struct.Struct("<II")
        for magic, at in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
            place = bytes(emptied).rindex(magic)
            emptied[place + at : place + at + 2] = method.to_bytes(2, "little")
            method_size.pack_into(emptied, place + at + 10, 1 << 20, BOMB_BYTES)
        return bytes(emptied)
    packed = zipped(entries)
    directory = packed.index(b"PK\1\2")
    copies = packed[directory:-22] * rng.choice((2, 50, 400))
    return packed[:directory] + copies + zip_end(len(copies), directory)


def zip_end(directory_bytes: int, directory_start: int) -> bytes:
    """The end of a zip with more entries than it can count."""
    numbers = (0, 0, 0xFFFF, 0xFFFF, directory_bytes, directory_start, 0)
    return struct.pack("<4s4H2IH", b"PK\5\6", *numbers)


# Manifests. Where `honest`, its own hash is right again: only what a field says is wrong.


def fields_of(tree: Any, path: str = "") -> Iterator[tuple[Any, Any, str]]:
    """Each field or element, as its holder, its key there and its path."""
    if isinstance(tree, dict):
        for key in tree:
            here = f"{path}.{key}" if path else key
            yield tree, key, here
            yield from fields_of(tree[key], here)
    if isinstance(tree, list):
        for index in range(len(tree)):
            yield tree, index, f"{path}[{index}]"
            yield from fields_of(tree[index], f"{path}[{index}]")


def manifest_field(contents: Contents, rng: random.Random) -> bytes:
    """A field with a value of another, a strange value, none, or one more beside it."""
    tree = json.loads(contents["manifest.json"])
    places = list(fields_of(tree))
    (holder, key, _), (other, other_key, _) = rng.choice(places), rng.choice(places)
    what = rng.choice(("swap", "swap", "strange", "strange", "remove", "add"))
    if what == "swap":
        one, two = json.dumps(holder[key]), json.dumps(other[other_key])
        holder[key], other[other_key] = json.loads(two), json.loads(one)
    elif what == "strange":
        holder[key] = rng.choice(STRANGE)
    elif what == "remove":
        del holder[key]
    elif isinstance(holder, dict):
        holder[f"{key}_"] = holder[key]
    else:
        holder.append(holder[key])
    return json.dumps(tree, indent=1).encode()


def manifest_text(contents: Contents, rng: random.Random) -> bytes:
    """Too much of it, too deep, not JSON, in another encoding, a key twice."""
    text = contents["manifest.json"]
    depth = rng.choice((500, 20_000, 300_000))
    return rng.choice(
        (
            lambda: text + b" " * (1 << rng.randrange(10, 22)),
            lambda: b"[" * depth + b"]" * depth,
            lambda: b'{"a":' * depth + b"1" + b"}" * depth,
            lambda: b'{"format_version": 1, "made_with": ' + b"[" * depth,
            lambda: b'{"format_version": 1' + b', "format_version": 1' * 40_000 + b"}",
            lambda: b"[" + b"[]," * 340_000 + b"[]]",
            lambda: b'{"format_version": ' + b"9" * depth + b"}",
            lambda: text.decode().encode("utf-16"),
            lambda: b"\xef\xbb\xbf" + text,
            lambda: text.replace(b'"scale"', b'"scale": NaN, "scale"', 1),
            lambda: text.replace(b'"labels"', b'"labels": [], "labels"', 1),
            lambda: text.replace(b" ", b"", rng.randrange(1, 50)),
        )
    )()


def honest_field(contents: Contents, rng: random.Random) -> tuple[bytes, str]:
    """A value of a wrong type, under a hash that is right; and the path that must be named."""
    tree = json.loads(contents["manifest.json"])
    del tree["manifest_sha256"]
    holder, key, path = rng.choice(
        [place for place in fields_of(tree) if not place[2].startswith("made_with")]
    )
    wrong: tuple[object, ...] = ("\x00", [[]], {"": {}})
    holder[key] = rng.choice([v for v in wrong if type(v) is not type(holder[key])])
    return seal(tree), path


def hostile_golden(contents: Contents, rng: random.Random) -> bytes:
    """Golden vectors of another shape, type, order or number, or with a header that lies."""
    with np.load(io.BytesIO(contents["golden.npz"])) as loaded:
        arrays: dict[str, Any] = dict(loaded)
    name = rng.choice(list(arrays))
    array = arrays[name]
    changed = (
        array[:-1], array[..., :-1], array[np.newaxis], array.astype(np.float64), array.ravel(),
        array.astype(object), np.asfortranarray(array.T).T, array.astype(">i4"), array[:0],
        np.zeros((), array.dtype), np.zeros(3, [("a", "i4"), ("b", "O")]),
    )  # fmt: skip
    choice = rng.randrange(len(changed) + 3)
    if choice < len(changed):
        arrays[name] = changed[choice]
    buffer = io.BytesIO()
    if choice == len(changed):
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()
    if choice == len(changed) + 1:
        del arrays[name]
    np.savez(buffer, **arrays)
    if choice < len(changed) + 2:
        return buffer.getvalue()
    shape = rng.choice(((BOMB_BYTES,), (1 << 62, 4), (-1,), (0,), (2, 1 << 40)))
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    npy = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(64)
    return zipped([(f"{name}.npy", npy)])


def damaged_golden(contents: Contents, rng: random.Random) -> Contents:
    """Golden vectors with damaged bytes, or with a header of them damaged; their hash is right."""
    data = contents["golden.npz"]
    if rng.random() < 0.3:
        return with_right_hashes(contents, {"golden.npz": rng.choice(DAMAGE)(data, rng)})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    broken = rng.randrange(len(entries))
    name, npy = entries[broken]
    header, rest = npy[:128], npy[128:]
    what = rng.random()
    if what < 0.5:
        header = rng.choice(DAMAGE)(header, rng)
    else:
        word = rng.choice(HEADER_WORDS)
        strange = rng.choice((*HEADER_WORDS, b"-1", b"9" * 30, b"[" * 300, b"()", b"None", b"''"))
        header = header.replace(word, strange) if what < 0.9 else header[:10] + strange + rest[:118]
    entries[broken] = name, header + rest
    return with_right_hashes(contents, {"golden.npz": zipped(entries)})


HEADER_WORDS = (b"'|u1'", b"'|i1'", b"'<f4'", b"descr", b"False", b"shape", b"(", b",", b"{", b"}")


def with_right_hashes(contents: Contents, changes: Contents) -> Contents:
    """These files in place of the bundle's, with a manifest that is right about them."""
    files = {**contents, **changes}
    tree = json.loads(files["manifest.json"])
    for entry in (tree["golden"], *tree["variants"]):
        data = files[entry["file"]]
        entry["size_bytes"], entry["sha256"] = len(data), hashlib.sha256(data).hexdigest()
    return {**files, "manifest.json": seal(tree)}


def wrong_hash(contents: Contents, rng: random.Random) -> tuple[bytes, str]:
    """A size or a sha256 that is not the file's, under a hash of the manifest that is right."""
    tree = json.loads(contents["manifest.json"])
    index = rng.randrange(len(tree["variants"]) + 1)
    entry, path = (
        (tree["golden"], "golden")
        if index == len(tree["variants"])
        else (tree["variants"][index], f"variants[{index}]")
    )
    if rng.random() < 0.5:
        entry["sha256"] = hashlib.sha256(rng.randbytes(8)).hexdigest()
        return seal(tree), f"{path}.sha256"
    entry["size_bytes"] += rng.choice((1, 1000, BOMB_BYTES))
    return seal(tree), f"{path}.size_bytes"


def swapped_model(contents: Contents, rng: random.Random) -> Contents:
    """A model file that is another, or no model at all, with hashes that are right."""
    models = [name for name in contents if name.startswith("model.")]
    name = rng.choice(models)
    others = [contents[other] for other in models if other != name]
    return with_right_hashes(contents, {name: rng.choice((*others, b"x", b"{}", bytes(3000)))})


# One kind of mutation: writes something broken at a path, and says what the error must name.
Mutation = Callable[[Contents, random.Random, Path], str]


def _named(made: Any) -> tuple[Any, str]:
    """What was made, and what the error must name; nothing where the maker does not say."""
    return made if isinstance(made, tuple) else (made, "")


def _as_zip(make: Callable[[Contents, random.Random], Any]) -> Mutation:
    def mutate(contents: Contents, rng: random.Random, path: Path) -> str:
        data, named = _named(make(contents, rng))
        path.write_bytes(data)
        return named

    return mutate


def _in_either_form(make: Callable[[Contents, random.Random], Any]) -> Mutation:
    """What `make` gives is a new manifest, or all files; it is written as a zip or as a folder."""

    def mutate(contents: Contents, rng: random.Random, path: Path) -> str:
        made, named = _named(make(contents, rng))
        files = made if isinstance(made, dict) else {**contents, "manifest.json": made}
        write = rng.choice((write_folder, lambda p, f: p.write_bytes(zipped(list(f.items())))))
        write(path, files)
        return named

    return mutate


def write_folder(path: Path, contents: Contents) -> None:
    path.mkdir()
    for name, data in contents.items():
        (path / name).write_bytes(data)


def damaged_zip(contents: Contents, rng: random.Random) -> bytes:
    return rng.choice(DAMAGE)(zipped(list(contents.items())), rng)


def damaged_folder(contents: Contents, rng: random.Random, path: Path) -> str:
    name = rng.choice(list(contents))
    write_folder(path, {**contents, name: rng.choice(DAMAGE)(contents[name], rng)})
    return name


def strange_folder(contents: Contents, rng: random.Random, path: Path) -> str:
    """A file that is a link, a folder, a pipe, a gigabyte or not there; one more that is."""
    name = rng.choice(list(contents))
    write_folder(path, contents)
    file = path / name
    what = rng.choice(("link", "loop", "folder", "pipe", "huge", "missing", "more", "record"))
    if what in ("more", "record"):
        more = "installed.json" if what == "record" else rng.choice(("x", "manifest.sig", "..x"))
        (path / more).write_bytes(rng.randbytes(rng.choice((0, 3, 64, 70))))
        return ""
    file.unlink()
    if what == "link":
        file.symlink_to(rng.choice((Path("/etc/passwd"), path / "nothing", Path("/dev/zero"))))
    elif what == "loop":
        file.symlink_to(file)
    elif what == "folder":
        file.mkdir()
    elif what == "pipe":
        os.mkfifo(file)
    elif what == "huge":
        with file.open("wb") as stream:
            stream.truncate(BOMB_BYTES)  # a hole: it takes no room on the disk
    return name


KINDS: dict[str, tuple[int, Mutation]] = {
    "damaged zip": (4, _as_zip(damaged_zip)),
    "damaged folder": (3, damaged_folder),
    "zip field": (4, _as_zip(zip_field)),
    "zip entries": (2, _as_zip(zip_entries)),
    "zip bomb": (1, _as_zip(zip_bomb)),
    "strange folder": (1, strange_folder),
    "manifest field": (4, _in_either_form(manifest_field)),
    "manifest text": (1, _in_either_form(manifest_text)),
    "honest field": (2, _in_either_form(honest_field)),
    "wrong hash": (1, _in_either_form(wrong_hash)),
    "hostile golden": (
        1,
        _in_either_form(
            lambda contents, rng: with_right_hashes(
                contents, {"golden.npz": hostile_golden(contents, rng)}
            )
        ),
    ),
    "damaged golden": (2, _in_either_form(damaged_golden)),
    "swapped model": (1, _in_either_form(swapped_model)),
}
GROUPS = {
    "zip": ("damaged zip", "zip field", "zip entries", "zip bomb"),
    "manifest": ("manifest field", "manifest text", "honest field", "wrong hash"),
    "golden": ("hostile golden", "damaged golden"),
}
WATCHDOG_S = 60


def judge(path: Path, original: Bundle, kind: str, named: str) -> dict[str, Any]:
    """What the reader makes of a mutation: `refused`, `unchanged`, or what is wrong with it.

    Only a zip of the very same bytes, or a folder of the same files, is `unchanged`.
    """
    try:
        bundle = read_bundle(path)
        bundle.golden()
        if kind == "swapped model":
            for backend in ("litert", "onnx"):
                for precision in ("int8", "float"):
                    open_model(bundle, backend, precision=precision).close()
    except BundleError as error:
        said = str(error)
        # What is wrong with a golden vector or a model is found after the bundle has been read.
        clear = said.startswith((f"{path}: ", "golden.npz: ", "model.")) and named in said
        clear = clear and "\n" not in said and len(said) < 1500
        return {"outcome": "refused" if clear else "unclear", "said": said, "named": named}
    if kind == "damaged golden":
        return {"outcome": "changed"}  # its hash is right, and not each byte is part of a header
    same = bundle.manifest == original.manifest and bundle.files == original.files
    if path.is_file():
        same = path.read_bytes() == zipped(list(original.files.items()))
    elif same is False and bundle.files.keys() - original.files.keys() == {"manifest.sig"}:
        # Any 64 bytes are a signature until somebody asks whose.
        same = all(bundle.files[name] == data for name, data in original.files.items())
    return {"outcome": "unchanged" if same else "accepted"}


def run_seeds(
    folder: Path,
    seeds: range,
    kinds: dict[str, int],
    attempt: Callable[[str, random.Random, Path], dict[str, Any]],
) -> None:
    """Attempts one mutation a seed, of a kind that its weight makes likely; prints a line each.

    What takes longer than `WATCHDOG_S` ends the process with the traceback of where it was.
    """
    path = folder / "mutated"
    there = set(folder.iterdir())  # an engine keeps a file of its own where temporary files go
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in seeds:
        rng = random.Random(seed)
        (kind,) = rng.choices(list(kinds), list(kinds.values()))
        print(f"{seed}\t{kind}", end="\t", flush=True)
        faulthandler.dump_traceback_later(WATCHDOG_S, exit=True, file=2)
        try:
            found = attempt(kind, rng, path)
        except Exception as error:  # whatever is not tinsmith's is what this is looking for
            found = {"outcome": "escaped", "said": f"{type(error).__name__}: {error}"}
        faulthandler.cancel_dump_traceback_later()
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        if stray := set(folder.iterdir()) - there:
            found = {"outcome": "stray", "said": f"{stray}"}
        print(json.dumps(found))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{after - before}\tkB grown")


def main(bundle: str, folder: str, first: int, count: int, kinds: list[str]) -> None:
    original = read_bundle(bundle)
    contents = dict(original.files)
    for backend in ("litert", "onnx"):  # what they take is not counted
        open_model(original, backend).close()

    def attempt(kind: str, rng: random.Random, path: Path) -> dict[str, Any]:
        named = KINDS[kind][1](contents, rng, path)
        return judge(path, original, kind, named)

    weights = {kind: KINDS[kind][0] for kind in kinds or KINDS}
    run_seeds(Path(folder), range(first, first + count), weights, attempt)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
