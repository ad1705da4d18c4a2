"""Reading and writing `NAME.tin`: an uncompressed zip, or a folder of the same content.

The zip is canonical: a reader packs what it read once more and compares.
"""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from tinsmith_runtime.bundle.archive import is_packed, pack, packed_sha256, sha256, unpack
from tinsmith_runtime.bundle.manifest import dump_manifest, parse_manifest
from tinsmith_runtime.bundle.schema import Golden, Manifest, Variant
from tinsmith_runtime.errors import BundleError, UsageError
from tinsmith_runtime.files import open_regular, read_regular, write_whole
from tinsmith_runtime.record import frozen_dataclass

# What a program that only predicts can do without is imported where it is used.
if TYPE_CHECKING:
    from pathlib import Path

    from tinsmith_runtime.bundle.golden import GoldenVectors

Read: TypeAlias = Callable[[str, int], bytes]
"""`read(name, limit_bytes)` fetches one file, or raises a `BundleError` if it is larger."""

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
_MAX_MANIFEST_BYTES = 1 << 20
_MAX_FILES_BYTES = 1 << 30  # of all files together, which are held in memory
_SIGNATURE_BYTES = 64
_CURE = "the bundle is damaged or was not written by tinsmith: copy or export it again"


@frozen_dataclass(frozen=True)
class Bundle:
    """A bundle in memory, every file but the signature, if any, checked against its hash."""

    manifest: Manifest
    files: Mapping[str, bytes]

    def golden(self) -> "GoldenVectors":
        """Reads the golden vectors.

        Raises:
            BundleError: an array is missing or does not fit the manifest.
        """
        from tinsmith_runtime.bundle.golden import read_golden

        return read_golden(self.files[self.manifest.golden.file], self.manifest)


def read_bundle(path: "str | Path") -> Bundle:
    """Reads a bundle and checks all of it.

    Args:
        path: a `.tin` file, a folder of the same content, or a folder that `tinsmith install` made.

    Raises:
        UsageError: there is nothing at `path`.
        BundleError: the bundle is damaged, hostile or from another version.
    """
    try:
        return _read_folder(path) if os.path.isdir(path) else _read_zip(path)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such bundle: make one with `tinsmith export`") from error
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror or error}") from error
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


def write_bundle(path: "str | Path", manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """Writes a bundle beside its place and renames it into it: all of it or nothing.

    Args:
        path: the `.tin` file; an older one is replaced.
        manifest: what the bundle says of itself.
        files: file name to bytes, each as the manifest declares it; `manifest.sig` may be there.

    Raises:
        BundleError: the manifest is wrong, or the files are not the manifest's.
        TinsmithError: the disk refuses.
    """
    contents = {MANIFEST: dump_manifest(manifest), **files}

    def read(name: str, limit: int) -> bytes:
        if name not in contents:
            raise BundleError(f"{name}: missing")
        _check_size(name, len(contents[name]), limit)
        return contents[name]

    bundle = _collect(read, SIGNATURE in contents)
    if unknown := sorted(contents.keys() - bundle.files.keys()):
        raise BundleError(f"{', '.join(unknown)}: not in the manifest")
    write_whole(path, pack(bundle.files))


def _read_zip(path: "str | Path", *, follow: bool = True) -> Bundle:
    with open_regular(path, follow=follow) as stream:
        places = unpack(stream)

        def read(name: str, limit: int) -> bytes:
            if name not in places:
                raise BundleError(f"{name}: missing")
            offset, size_bytes = places[name]
            _check_size(name, size_bytes, limit)
            stream.seek(offset)
            return stream.read(size_bytes)

        bundle = _collect(read, SIGNATURE in places)
        if not is_packed(stream, bundle.files, places):
            raise BundleError(f"the zip is not as tinsmith writes it: {_CURE}")
    return bundle


def _read_folder(folder: "str | Path") -> Bundle:
    from pathlib import Path

    from tinsmith_runtime.bundle.installation import read_installation

    path = Path(folder)
    while record := read_installation(folder):
        try:
            return read_installed(folder, record.current)
        except FileNotFoundError as error:
            now = read_installation(folder)
            if now and now.current == record.current:  # else two installs went by since
                raise BundleError(f"{record.current}.tin: missing: install it again") from error

    def read(name: str, limit: int) -> bytes:
        try:
            return read_regular(path / name, limit, follow=False)
        except FileNotFoundError as error:
            raise BundleError(f"{name}: expected a file in the bundle's folder") from error
        except OSError as error:
            raise BundleError(f"{name}: {error.strerror or error}") from error

    return _collect(read, os.path.lexists(path / SIGNATURE))


def read_installed(folder: "str | Path", digest: str) -> Bundle:
    """Reads the bundle whose sha256 is `digest` from an installed folder.

    Raises:
        OSError: it cannot be read.
        BundleError: it is damaged, or another one under its name.
    """
    bundle = _read_zip(os.path.join(folder, f"{digest}.tin"), follow=False)
    if packed_sha256(bundle.files) != digest:
        raise BundleError(f"{digest}.tin: holds another bundle than its name says: install again")
    return bundle


def _check_size(name: str, size_bytes: int, limit: int) -> None:
    if size_bytes > limit:
        raise BundleError(f"{name}: expected at most {limit} bytes, got {size_bytes}")


def _collect(read: Read, signed: bool) -> Bundle:
    """Reads the manifest, then every file it declares, then the signature if there is one."""
    files = {MANIFEST: read(MANIFEST, _MAX_MANIFEST_BYTES)}
    manifest = parse_manifest(files[MANIFEST])
    entries: list[tuple[str, Variant | Golden]] = [("golden", manifest.golden)]
    entries += [(f"variants[{i}]", variant) for i, variant in enumerate(manifest.variants)]
    declared = 0
    for path, entry in entries:
        if entry.file == SIGNATURE:
            raise BundleError(f"{path}.file: {SIGNATURE} is the signature's name, and no other's")
        declared += entry.size_bytes
        if declared > _MAX_FILES_BYTES:
            raise BundleError(
                f"{path}.size_bytes: expected at most {_MAX_FILES_BYTES} in all files, "
                f"got {declared}"
            )
    for path, entry in entries:
        data = read(entry.file, entry.size_bytes)
        if len(data) != entry.size_bytes:
            raise BundleError(
                f"{path}.size_bytes: expected {entry.size_bytes}, got {len(data)} "
                f"in {entry.file}: {_CURE}"
            )
        if sha256(data) != entry.sha256:
            raise BundleError(f"{path}.sha256: {entry.file} does not match: {_CURE}")
        files[entry.file] = data
    if signed:
        files[SIGNATURE] = read(SIGNATURE, _SIGNATURE_BYTES)
        if len(files[SIGNATURE]) != _SIGNATURE_BYTES:
            raise BundleError(
                f"{SIGNATURE}: expected {_SIGNATURE_BYTES} bytes, got {len(files[SIGNATURE])}"
            )
    return Bundle(manifest, files)
