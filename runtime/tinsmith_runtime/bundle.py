"""Reading and writing `NAME.tin`: an uncompressed zip, or a folder of the same content.

The zip is canonical: the same content is the same bytes. So a reader packs what it read once more
and compares: no byte of the file, not even of the zip's own bookkeeping, can change unnoticed.
"""

import hashlib
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.errors import BundleError, UsageError
from tinsmith_runtime.manifest import Golden, Manifest, Variant, dump_manifest, parse_manifest

MANIFEST = "manifest.json"
_MAX_MANIFEST_BYTES = 1 << 20
_DAMAGED = "the file is damaged or was not written by tinsmith: copy or export it again"
_ZIP_TROUBLE = (zipfile.BadZipFile, EOFError, NotImplementedError, OverflowError, RuntimeError,
                ValueError, struct.error, zlib.error)  # fmt: skip


@dataclass(frozen=True)
class Bundle:
    """A bundle in memory, every file checked against its hash."""

    manifest: Manifest
    files: Mapping[str, bytes]

    def golden(self) -> "GoldenVectors":
        """Reads the golden vectors.

        Raises:
            BundleError: an array is missing or does not fit the manifest.
        """
        manifest, name = self.manifest, self.manifest.golden.file
        count = manifest.golden.count
        expected = {
            "inputs": (np.dtype(np.uint8), (count, *manifest.input.shape[1:])),
            "outputs_int8": (np.dtype(np.int8), (count, *manifest.output.shape[1:])),
            "outputs_float": (np.dtype(np.float32), (count, *manifest.output.shape[1:])),
        }
        arrays = {}
        try:
            with np.load(io.BytesIO(self.files[name]), allow_pickle=False) as npz:
                for key in expected:
                    arrays[key] = npz[key]
        except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
            raise BundleError(f"{name}: expected the arrays {list(expected)}: {error}") from error
        for key, (dtype, shape) in expected.items():
            array = arrays[key]
            if array.dtype != dtype or array.shape != shape:
                raise BundleError(
                    f"{name}: {key}: expected {dtype} {shape}, got {array.dtype} {array.shape}"
                )
        return GoldenVectors(**arrays)


@dataclass(frozen=True)
class GoldenVectors:
    """Real inputs and what every engine must answer.

    Attributes:
        inputs: `uint8 (N, H, W, C)`.
        outputs_int8: `int8 (N, classes)`, to be met bit for bit.
        outputs_float: `float32 (N, classes)`, the float model's logits.
    """

    inputs: NDArray[np.uint8]
    outputs_int8: NDArray[np.int8]
    outputs_float: NDArray[np.float32]


def read_bundle(path: str | Path) -> Bundle:
    """Reads a bundle and checks all of it.

    Args:
        path: a `.tin` file or a folder of the same content.

    Raises:
        UsageError: there is nothing at `path`.
        BundleError: the bundle is damaged, hostile or from another version.
    """
    path = Path(path)
    try:
        return _read_folder(path) if path.is_dir() else _read_zip(path)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such bundle: make one with `tinsmith export`") from error
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror or error}") from error
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


def write_bundle(path: str | Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """Writes a bundle beside its place and renames it into it: all of it or nothing.

    Args:
        path: the `.tin` file; an older one is replaced.
        manifest: what the bundle says of itself.
        files: file name to bytes, each as the manifest declares it.

    Raises:
        BundleError: the files are not the manifest's, or the disk refuses.
    """
    path = Path(path)
    contents = {MANIFEST: dump_manifest(manifest), **files}
    bundle = _collect(lambda name, _: contents[name])
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(_pack(bundle.files))
        beside.replace(path)
    except OSError as error:
        raise BundleError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


def sha256(data: bytes) -> str:
    """The sha256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def _pack(contents: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name)  # dated 1980-01-01: the same content, the same bytes
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, data)
    return buffer.getvalue()


def _read_zip(path: Path) -> Bundle:
    data = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:

            def read(name: str, limit: int) -> bytes:
                entry = archive.getinfo(name)
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > limit:
                    raise BundleError(
                        f"{name}: expected at most {limit} bytes, stored uncompressed, "
                        f"got {entry.file_size}: {_DAMAGED}"
                    )
                return archive.read(entry)

            bundle = _collect(read)
    except KeyError as error:
        raise BundleError(f"{error.args[0]}: {_DAMAGED}") from error
    except _ZIP_TROUBLE as error:
        raise BundleError(f"expected a tinsmith bundle, got: {error}: {_DAMAGED}") from error
    if _pack(bundle.files) != data:
        raise BundleError(f"the zip is not as tinsmith writes it: {_DAMAGED}")
    return bundle


def _read_folder(path: Path) -> Bundle:
    def read(name: str, limit: int) -> bytes:
        file = path / name
        if file.is_symlink() or not file.is_file():
            raise BundleError(f"{name}: expected a file in the bundle's folder")
        with file.open("rb") as stream:
            return stream.read(limit + 1)

    return _collect(read)


def _collect(read: Callable[[str, int], bytes]) -> Bundle:
    """Reads the manifest, then every file it declares; `read(name, limit_bytes)` fetches one."""
    files = {MANIFEST: read(MANIFEST, _MAX_MANIFEST_BYTES)}
    manifest = parse_manifest(files[MANIFEST])
    entries: list[tuple[str, Variant | Golden]] = [("golden", manifest.golden)]
    entries += [(f"variants[{i}]", variant) for i, variant in enumerate(manifest.variants)]
    for path, entry in entries:
        data = read(entry.file, entry.size_bytes)
        if len(data) != entry.size_bytes:
            raise BundleError(
                f"{path}.size_bytes: expected {entry.size_bytes}, got {len(data)} "
                f"in {entry.file}: {_DAMAGED}"
            )
        if sha256(data) != entry.sha256:
            raise BundleError(f"{path}.sha256: {entry.file} does not match: {_DAMAGED}")
        files[entry.file] = data
    return Bundle(manifest, files)
