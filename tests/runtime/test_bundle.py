import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tinsmith_runtime import (
    Bundle,
    BundleError,
    TinsmithError,
    UsageError,
    read_bundle,
    write_bundle,
)
from tinsmith_runtime.bundle import sha256
from tinsmith_runtime.cli import main

FILES = [
    "manifest.json",
    "golden.npz",
    "model.int8.tflite",
    "model.int8.onnx",
    "model.float.tflite",
    "model.float.onnx",
]


def _refusal(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        read_bundle(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message) < 1000
    return message


def test_read(bundle: Bundle, tiny: Path) -> None:
    assert list(bundle.files) == FILES
    assert bundle.manifest.output.labels == ("zero", "one", "two")
    with zipfile.ZipFile(tiny) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == bundle.files


def test_write_gives_the_same_bytes(bundle: Bundle, tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "copy.tin"
    path.write_text("an older bundle")
    write_bundle(path, bundle.manifest, {n: bundle.files[n] for n in reversed(FILES[1:])})
    assert path.read_bytes() == tiny.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_write_refuses_what_is_not_in_the_manifest(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "new.tin"
    files = {name: bundle.files[name] for name in FILES[1:]}
    with pytest.raises(BundleError, match=r"readme\.txt: not in the manifest"):
        write_bundle(path, bundle.manifest, {**files, "readme.txt": b""})
    swapped = {**files, "golden.npz": bytes(len(files["golden.npz"]))}
    with pytest.raises(BundleError, match=r"golden.sha256: golden\.npz does not match"):
        write_bundle(path, bundle.manifest, swapped)
    del files["golden.npz"]
    with pytest.raises(BundleError, match=r"golden\.npz: missing"):
        write_bundle(path, bundle.manifest, files)
    assert not list(tmp_path.iterdir())


def test_write_to_a_bad_place(bundle: Bundle, tmp_path: Path) -> None:
    files = {name: bundle.files[name] for name in FILES[1:]}
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "none" / "x.tin", tmp_path / "folder"):
        with pytest.raises(TinsmithError, match="cannot be written"):
            write_bundle(path, bundle.manifest, files)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_killed_while_writing_leaves_the_old_one(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.tin"
    path.write_text("old")

    def die(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", die)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(path, bundle.manifest, {name: bundle.files[name] for name in FILES[1:]})
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.not_on_a_board(reason="takes minutes there: 17,000 bundles")
def test_every_flipped_byte_is_refused(tiny: Path, tmp_path: Path) -> None:
    data, random_bit = bytearray(tiny.read_bytes()), random.Random(0)
    path = tmp_path / "flipped.tin"
    accepted, messages = [], []
    for position in range(len(data)):
        bit = 1 << random_bit.randrange(8)
        data[position] ^= bit
        path.write_bytes(data)
        data[position] ^= bit
        try:
            read_bundle(path)
            accepted.append(position)
        except BundleError as error:
            messages.append(str(error))
    assert accepted == []
    assert not [message for message in messages if "\n" in message]


def test_flipped_byte_through_the_command(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], one_line: Callable[[str], str]
) -> None:
    data, position = bytearray(tiny.read_bytes()), random.Random(1)
    path = tmp_path / "flipped.tin"
    for _ in range(100):
        changed = bytearray(data)
        changed[position.randrange(len(data))] ^= 0x10
        path.write_bytes(changed)
        assert main(["inspect", str(path)]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        one_line(captured.err)


def test_truncated(tiny: Path, tmp_path: Path) -> None:
    data = tiny.read_bytes()
    path = tmp_path / "short.tin"
    for length in {*range(100), *range(0, len(data), 97), *range(len(data) - 100, len(data))}:
        path.write_bytes(data[:length])
        _refusal(path)


@pytest.mark.parametrize("extra", [b"\0", b"x" * 70_000, b"PK\x05\x06" + bytes(18)])
def test_appended_and_prepended(tiny: Path, tmp_path: Path, extra: bytes) -> None:
    path = tmp_path / "long.tin"
    for data in (tiny.read_bytes() + extra, extra + tiny.read_bytes()):
        path.write_bytes(data)
        _refusal(path)


@pytest.mark.parametrize("data", [b"", b"hello\n", b"\x93NUMPY", b"PK\x03\x04" * 100])
def test_another_file(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.tin"
    path.write_bytes(data)
    assert "expected a zip" in _refusal(path)


def test_empty_zip(tmp_path: Path, zipped: Callable[..., bytes]) -> None:
    path = tmp_path / "empty.tin"
    path.write_bytes(zipped({}))
    assert "manifest.json: missing" in _refusal(path)


@pytest.mark.parametrize("name", FILES)
def test_missing_entry(
    bundle: Bundle, tmp_path: Path, zipped: Callable[..., bytes], name: str
) -> None:
    path = tmp_path / "less.tin"
    path.write_bytes(zipped({n: data for n, data in bundle.files.items() if n != name}))
    assert f"{name}: missing" in _refusal(path)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "readme.txt", "golden.npz/"])
def test_undeclared_entry(
    bundle: Bundle, tmp_path: Path, zipped: Callable[..., bytes], name: str
) -> None:
    path = tmp_path / "more.tin"
    path.write_bytes(zipped({**bundle.files, name: b"x"}))
    assert "the zip is not as tinsmith writes it" in _refusal(path)


def test_other_order(bundle: Bundle, tmp_path: Path, zipped: Callable[..., bytes]) -> None:
    path = tmp_path / "order.tin"
    path.write_bytes(zipped(dict(reversed(list(bundle.files.items())))))
    assert "the zip is not as tinsmith writes it" in _refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_entry(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "twice.tin"
    path.write_bytes(tiny.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("golden.npz", archive.read("golden.npz"))
    assert "the zip is not as tinsmith writes it" in _refusal(path)


def test_compressed_bundle(bundle: Bundle, tmp_path: Path, zipped: Callable[..., bytes]) -> None:
    path = tmp_path / "small.tin"
    path.write_bytes(zipped(bundle.files, zipfile.ZIP_DEFLATED))
    assert "expected a zip without compression, got method 8" in _refusal(path)


def test_huge_manifest(
    bundle: Bundle, tmp_path: Path, zipped: Callable[..., bytes], folder: Path
) -> None:
    huge = b" " * (1 << 21)
    path = tmp_path / "huge.tin"
    path.write_bytes(zipped({**bundle.files, "manifest.json": huge}))
    assert "manifest.json: expected at most 1048576 bytes, got 2097152" in _refusal(path)
    (folder / "manifest.json").write_bytes(huge)
    assert "manifest.json: expected at most 1048576 bytes, got 2097152" in _refusal(folder)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("sha256", "0" * 64, "variants[0].sha256: model.int8.tflite does not match"),
        ("size_bytes", 1 << 29, "variants[0].size_bytes: expected 536870912, got "),
        ("size_bytes", 1 << 30, "variants[0].size_bytes: expected at most 1073741824 in all"),
        ("size_bytes", 10, "model.int8.tflite: expected at most 10 bytes, got "),
    ],
)
def test_wrong_promise(forge: Callable[..., Path], field: str, value: object, message: str) -> None:
    path = forge(edit=lambda tree: tree["variants"][0].update({field: value}))
    assert message in _refusal(path)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a\\b", ""])
def test_file_outside(forge: Callable[..., Path], name: str) -> None:
    assert "golden.file: expected a plain file name" in _refusal(
        forge(edit=lambda tree: tree["golden"].update(file=name))
    )


def test_future_version(forge: Callable[..., Path]) -> None:
    path = forge(edit=lambda tree: tree.update(format_version=5, novelty=1))
    assert "upgrade with: pip install --upgrade tinsmith-runtime" in _refusal(path)


def test_folder(folder: Path, bundle: Bundle) -> None:
    assert read_bundle(folder) == bundle


@pytest.mark.parametrize("name", FILES)
def test_flipped_byte_in_a_folder(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    position = random.Random(0)
    for _ in range(50):
        changed = bytearray(data)
        changed[position.randrange(len(data))] ^= 0x01
        (folder / name).write_bytes(changed)
        _refusal(folder)


@pytest.mark.parametrize("name", FILES)
def test_truncated_or_longer_file_in_a_folder(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    for changed in (data[:-1], b"", data + b"\0"):
        (folder / name).write_bytes(changed)
        _refusal(folder)


@pytest.mark.parametrize("name", ["manifest.json", "model.int8.onnx"])
def test_symlink_in_a_folder(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).rename(tmp_path / "elsewhere")
    assert f"{name}: expected a file in the bundle's folder" in _refusal(folder)
    (folder / name).symlink_to(tmp_path / "elsewhere")
    assert f"{name}: expected a file, found a link" in _refusal(folder)


def test_symlink_to_a_bundle(tiny: Path, tmp_path: Path, bundle: Bundle) -> None:
    """An installation may switch from one bundle to the next by a link."""
    (tmp_path / "current.tin").symlink_to(tiny)
    assert read_bundle(tmp_path / "current.tin") == bundle


def test_nothing_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.tin", str(tmp_path / "none.tin")):
        with pytest.raises(UsageError, match=r"none\.tin: no such bundle"):
            read_bundle(path)


def test_neither_file_nor_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "expected a file, found a pipe" in _refusal(tmp_path / "pipe")
    assert "expected a file, found a device" in _refusal(Path("/dev/zero"))
    assert "cannot be read: File name too long" in _refusal(tmp_path / ("x" * 300))


def test_sha256() -> None:
    assert sha256(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
