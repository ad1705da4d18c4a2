"""What is no file, or a file without end, through `load` and `tinsmith run`: refused in time.

Each test has an alarm: what waits for a pipe fails, and does not hang.
"""

import contextlib
import io
import os
import signal
import socket
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import image_mutations
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tinsmith_runtime import BundleError, load, read_bundle
from tinsmith_runtime.cli import main
from tinsmith_runtime.inputs.image import MAX_PIXELS, MAX_SCANS, read_image

HOLE_BYTES = 300_000_000
MOST_SECONDS = 120  # of one test on a busy machine; what is not refused never ends
STRANGE = ("dangling", "device", "folder", "hole", "loop", "pipe", "socket")


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    def fail(*_: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(MOST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def put(kind: str, path: Path) -> None:
    """Puts something that is no file, or one of holes, at a path."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        bound = Path(os.path.relpath(path))  # the path of a socket is short
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(min(path, bound, key=lambda p: len(str(p)))))
    elif kind == "folder":
        path.mkdir()
    elif kind == "hole":
        with path.open("wb") as stream:
            stream.truncate(HOLE_BYTES)
    else:
        path.symlink_to({"device": "/dev/zero", "loop": str(path), "dangling": "nothing"}[kind])


def said_of(words: list[object], capsys: pytest.CaptureFixture[str], status: int = 1) -> list[str]:
    """The lines on standard error of a command that fails, having taken little memory."""
    tracemalloc.start()
    try:
        assert main([str(word) for word in words]) == status
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50_000_000
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("tinsmith: ") for line in lines)
    return lines


@pytest.mark.parametrize("kind", STRANGE)
def test_a_bundle(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.tin"
    put(kind, path)
    with pytest.raises(Exception, match=r"x\.tin: ") as caught:
        load(path)
    expected = "UsageError" if kind == "dangling" else "BundleError"
    assert type(caught.value).__name__ == expected


@pytest.mark.parametrize("name", ["manifest.json", "model.int8.tflite", "golden.npz"])
@pytest.mark.parametrize("kind", STRANGE)
def test_a_part_of_a_bundle(kind: str, name: str, folder: Path) -> None:
    (folder / name).unlink()
    put(kind, folder / name)
    tracemalloc.start()
    try:
        with pytest.raises(BundleError, match=f"folder: {name}: expected (a file|at most)"):
            read_bundle(folder)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_part_that_becomes_a_link_while_it_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at it and its opening."""
    really = os.open
    swapped: list[Path] = []

    def swap(path: Any, *words: Any) -> int:
        if Path(path).name == "golden.npz" and not swapped:
            swapped.append(Path(path))
            Path(path).rename(folder / "elsewhere")
            Path(path).symlink_to(folder / "elsewhere")
        return really(path, *words)

    monkeypatch.setattr(os, "open", swap)
    with pytest.raises(BundleError, match=r"golden\.npz: "):
        read_bundle(folder)
    assert swapped


def test_a_bundle_of_more_than_a_gigabyte_is_not_read(forge: Callable[..., Path]) -> None:
    def edit(tree: Any) -> None:
        for variant in tree["variants"]:
            variant["size_bytes"] = 600_000_000

    with pytest.raises(
        BundleError, match=r"variants\[1\]\.size_bytes: expected at most 1073741824"
    ):
        read_bundle(forge(edit=edit))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".npy"])
def test_a_folder_of_images(
    tiny: Path, images: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    """Each is named, and the rest is predicted."""
    for kind in STRANGE:
        put(kind, images / f"{kind}{suffix}")
    lines = said_of(["run", tiny, images], capsys)
    assert lines[-1] == "tinsmith: 7 of 10 inputs could not be read"
    for line, kind in zip(lines, STRANGE, strict=False):
        assert line.startswith(f"tinsmith: error: {images / kind}{suffix}: ")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".npy"])
def test_a_folder_of_photos_for_a_detector(
    boxes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    """Nothing is drawn of what cannot be read, and what a link in the folder names stays."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    out.mkdir()
    for kind in STRANGE:
        put(kind, photos / f"{kind}{suffix}")
    np.save(photos / "good.npy", np.zeros((32, 32), np.uint8))
    kept = tmp_path / "kept.png"
    kept.write_bytes(b"mine")
    (out / "good.png").symlink_to(kept)
    lines = said_of(["run", boxes, photos, "--draw", out], capsys)
    assert lines[-1] == "tinsmith: 7 of 8 inputs could not be read"
    assert [path.name for path in out.iterdir()] == ["good.png"]
    assert not (out / "good.png").is_symlink()
    assert kept.read_bytes() == b"mine"


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".npz"])
def test_a_folder_of_features(
    features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    (tmp_path / "rows").mkdir()
    for kind in STRANGE:
        put(kind, tmp_path / "rows" / f"{kind}{suffix}")
    lines = said_of(["run", features, tmp_path / "rows"], capsys)
    assert lines[-1] == "tinsmith: 7 of 7 inputs could not be read"
    for line, kind in zip(lines, STRANGE, strict=False):
        assert line.startswith(f"tinsmith: error: {tmp_path}/rows/{kind}{suffix}:")


def test_a_glob_names_what_is_no_file(
    tiny: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put("pipe", images / "b.png")
    lines = said_of(["run", tiny, f"{images}/*.png"], capsys)
    assert lines[0] == f"tinsmith: error: {images / 'b.png'}: expected a file, found a pipe"
    assert lines[1] == "tinsmith: 1 of 2 inputs could not be read"


def test_links_that_lead_in_circles(
    tiny: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two of them are two to the fortieth ways down."""
    for name in ("one", "two"):
        (images / name).symlink_to(".")
    (images / "deep").mkdir()
    (images / "a.png").rename(images / "deep" / "a.png")
    assert main(["run", str(tiny), f"{images}/**/*.png", f"{images}/**"]) == 1
    captured = capsys.readouterr()
    named = [line.split(": ")[0].removeprefix(f"{images}/") for line in captured.out.splitlines()]
    assert named == ["deep/a.png", "b.jpg", "c.npy", "deep/a.png"]
    assert "notes.txt: expected a PNG or JPEG" in captured.err


@pytest.mark.slow
@pytest.mark.not_on_a_board(reason="takes minutes there, and nothing in it depends on the CPU")
def test_folders_too_deep(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = tmp_path
    for _ in range(1200):
        deep /= "d"
        deep.mkdir()
    try:
        said_of(["run", tiny, f"{tmp_path}/**/*.png"], capsys)
    finally:
        while deep != tmp_path:  # what removes it is recursive too
            deep.rmdir()
            deep = deep.parent


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[IO[Any]], None]:
    """Puts an open file in the place of standard input."""

    def put_there(stream: IO[Any]) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(stream))

    return put_there


def test_standard_input_without_end(
    tiny: Path, features: Path, capsys: pytest.CaptureFixture[str], stdin: Callable[[IO[Any]], None]
) -> None:
    for bundle, words in ((tiny, "expected a PNG or JPEG"), (features, "characters a line")):
        with Path("/dev/zero").open("rb") as zeros:
            stdin(zeros)
            assert main(["run", str(bundle), "-"]) == 1
        lines = capsys.readouterr().err.splitlines()
        assert words in lines[0]
        assert lines[1:] == ["tinsmith: 1 of 1 inputs could not be read"]


def test_standard_input_is_a_pipe_or_closed(
    tiny: Path,
    images: Path,
    capsys: pytest.CaptureFixture[str],
    stdin: Callable[[IO[Any]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, writer = os.pipe()
    os.write(writer, (images / "a.png").read_bytes())
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        stdin(pipe)
        assert main(["run", str(tiny), "-"]) == 0
    monkeypatch.setattr("sys.stdin", None)
    assert "standard input: expected something to read" in said_of(["run", tiny, "-"], capsys)[0]


def test_a_line_of_csv_without_end(
    features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"1," * 40 + b"\n" + b"1," * 5_000_000)
    lines = said_of(["run", features, path], capsys)
    assert lines[1].endswith("x.csv:2: expected at most 69,632 characters a line")


NPY = b"\x93NUMPY\1\0"


def npy(shape: object, rest: bytes = b"", descr: str = "'|u1'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return NPY + len(header).to_bytes(2, "little") + header + rest


def test_arrays_that_lie(
    features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lies = {
        "promised": npy((HOLE_BYTES, 8, 8, 1)),
        "negative": npy((-1, 8, 8, 1)),
        "objects": npy((8, 8, 1), descr="'|O'"),
        "empty": npy((8, 8, 1), descr="'|V0'"),
        "record": npy((8, 8, 1), bytes(64), descr="()"),
        "version": b"\x93NUMPY\3\0" + bytes(64),
        "long": npy((8, 8, 1), b"x" * 20_000)[:8] + b"\xff\x7f" + b"{" * 20_000,
        "header": b"\x93NUMPY\2\0" + b"\xff\xff\xff\x7f" + b" " * 100_000,
    }
    for name, data in lies.items():
        (tmp_path / f"{name}.npy").write_bytes(data)
    with (tmp_path / "header.npy").open("r+b") as stream:
        stream.truncate(HOLE_BYTES)
    lines = said_of(["run", features, *(tmp_path / f"{name}.npy" for name in lies)], capsys)
    assert len(lines) == len(lies) + 1
    assert all(": expected a .npy array: " in line for line in lines[:-1]), lines
    assert max(map(len, lines)) < 600


def test_a_large_array_is_mapped(
    features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And one of holes, whose header is honest, takes no memory until it is used."""
    path = tmp_path / "x.npy"
    path.write_bytes(npy((HOLE_BYTES,)))
    with path.open("r+b") as stream:
        stream.truncate(HOLE_BYTES + 1000)
    assert "expected shape (N, 8, 8, 1)" in said_of(["run", features, path], capsys)[0]


@pytest.mark.slow
@pytest.mark.not_on_a_board(reason="takes minutes there, and nothing in it depends on the CPU")
def test_archives_that_unpack_to_gigabytes(
    features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some say so and some do not; either way the size is known before it is read."""
    array = npy((2_000_000_000,))
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(array) + packer.compress(bytes(1 << 28)) + packer.flush()
    for name, size in (("honest", 2_000_000_000), ("liar", 200)):
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", b"")
        data = bytearray((tmp_path / f"{name}.npz").read_bytes())
        start = data.index(b"x.npy") + 5
        end = data.index(b"PK\1\2")
        data[start:end] = packed
        moved = start + len(packed)
        for place in (14, moved + 16):  # the checksum and both sizes, at both places
            data[place + 4 : place + 12] = struct.pack("<2L", len(packed), size)
        data[-6:-2] = struct.pack("<L", moved)
        (tmp_path / f"{name}.npz").write_bytes(data)
    lines = said_of(["run", features, tmp_path / "honest.npz", tmp_path / "liar.npz"], capsys)
    assert "expected at most 1073741824 bytes of arrays, got 2000000000" in lines[0]
    assert "liar.npz: expected an .npz file of plain arrays: " in lines[1]


@pytest.mark.slow
@pytest.mark.not_on_a_board(reason="takes minutes there, and nothing in it depends on the CPU")
def test_an_archive_of_very_many_entries(
    features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"a{number}.npy", b"")
    lines = said_of(["run", features, path], capsys)
    assert "expected a directory of at most 1048576 bytes" in lines[0]


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_an_image_of_too_many_pixels_is_not_decoded(
    form: str, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some kilobytes that would become gigabytes."""
    buffer = io.BytesIO()
    Image.new("L", (16, 16)).save(buffer, form)
    data = bytearray(buffer.getvalue())
    if form == "PNG":
        chunks = image_mutations.chunks_of(bytes(data))
        header = struct.pack(">2L", 8192, 8193) + chunks[0][1][8:]
        data = bytearray(image_mutations.png_of([(b"IHDR", header), *chunks[1:]]))
    else:
        place = data.index(b"\xff\xc0") + 5
        data[place : place + 4] = struct.pack(">2H", 8193, 8192)
    path = tmp_path / "x.png"
    path.write_bytes(data)
    lines = said_of(["run", tiny, path], capsys)
    assert lines[0].endswith(f"x.png: expected at most {MAX_PIXELS:,} pixels, got 8192 x 8193")


def test_a_jpeg_of_several_scans_has_half_the_pixels(pixels: NDArray[np.uint8]) -> None:
    """Its decoder holds all of it twice over."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG", progressive=True)
    data = bytearray(buffer.getvalue())
    place = data.index(b"\xff\xc2") + 5
    data[place : place + 4] = struct.pack(">2H", 4097, 8192)
    with pytest.raises(Exception, match=r"at most 33,554,432 pixels, got 8192 x 4097"):
        read_image(bytes(data), (8, 8, 1))


@pytest.mark.not_on_a_board(reason="takes minutes there, and nothing in it depends on the CPU")
def test_a_picture_of_very_many_parts(pixels: NDArray[np.uint8]) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    scan = data[data.index(b"\xff\xda") : -2]
    with pytest.raises(Exception, match=f"expected at most {MAX_SCANS} scans"):
        read_image(data[:-2] + scan * 7 + b"\xff\xd9", (8, 8, 1))
    with pytest.raises(Exception, match="expected at most 100000 segments"):
        read_image(data[:2] + b"\xff\xe5\0\2" * 100_001 + data[2:], (8, 8, 1))
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "PNG")
    chunks = image_mutations.chunks_of(buffer.getvalue())
    many = image_mutations.png_of([chunks[0], *[(b"zzZz", b"")] * 100_001, *chunks[1:]])
    start = time.perf_counter()
    with pytest.raises(Exception, match="expected at most 100000 chunks"):
        read_image(many, (8, 8, 1))
    assert time.perf_counter() - start < MOST_SECONDS / 2


@pytest.mark.parametrize("mode", ["LA", "P", "CMYK", "I;16"])
def test_the_kinds_that_are_read_and_refused(
    mode: str, tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    Image.new("RGB" if mode == "CMYK" else "L", (16, 16)).convert(mode).save(path)
    if mode == "I;16":
        assert "expected 8 bits a channel" in said_of(["run", tiny, path], capsys)[0]
    else:
        assert main(["run", str(tiny), str(path)]) == 0


@pytest.mark.slow
@pytest.mark.not_on_a_board(reason="takes minutes there, and nothing in it depends on the CPU")
def test_five_hundred_broken_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A share of what `mutate.py` does; seed 870 met an assertion of Pillow's."""
    image_mutations.main(str(tmp_path), 400, 500)
    *lines, grown = capsys.readouterr().out.splitlines()
    wrong = [line for line in lines if '"refused"' not in line and '"read"' not in line]
    assert (len(lines), wrong) == (500, [])
    assert int(grown.split("\t")[0]) < 700_000


STEERING = "\x1b[2J\x07\r\n\u202e[red]"


@pytest.mark.slow
@pytest.mark.not_on_a_board(reason="takes minutes there, and nothing in it depends on the CPU")
def test_what_reaches_a_terminal(
    forge: Callable[..., Path], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names of files, of labels and of layers steer no terminal; JSON is ASCII."""

    def edit(tree: Any) -> None:
        # A manifest with control characters is refused; these turn the direction of a line.
        tree["outputs"][0]["labels"][:] = [f"\u202e[red]{i}" for i in range(3)]
        tree["training"]["dataset"] = tree["layers"][0]["name"] = "\u202ename"

    bundle = forge(edit=edit)
    strange = images / f"a{STEERING}.png"
    (images / "a.png").rename(strange)
    (images / f"b{STEERING}.png").write_text("no image")
    for words in (
        ["run", bundle, images],
        ["run", bundle, images, "--json"],
        ["run", bundle, strange, "--trusted-key", f"{STEERING}.pub"],
        ["run", bundle, f"{STEERING}/nothing", "--threads", f"{STEERING}"],
        ["run", bundle, strange, f"--{STEERING}"],
        ["inspect", bundle],
        ["inspect", bundle, "--json"],
        ["inspect", tmp_path / STEERING],
        ["keygen", tmp_path / STEERING],
        [
            "sign",
            bundle,
            "--key",
            tmp_path / f"{STEERING}.key",
            "--out",
            tmp_path / f"{STEERING}.tin",
        ],
        ["verify", tmp_path / f"{STEERING}.tin", "--key", tmp_path / f"{STEERING}.pub"],
        ["install", bundle, tmp_path / f"{STEERING}installed"],
        ["selftest", tmp_path / f"{STEERING}installed"],
    ):
        with contextlib.suppress(SystemExit):  # argparse's own errors
            main([str(word) for word in words])
        captured = capsys.readouterr()
        said = captured.out + captured.err
        assert said
        assert all(line.isprintable() for line in said.split("\n")), words
    assert main(["run", str(bundle), str(strange)]) == 0
    assert r"\x1b[2J\x07\r\n\u202e[red].png: \u202e[red]" in capsys.readouterr().out
