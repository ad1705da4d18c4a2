import io
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinsmith_runtime import BundleError
from tinsmith_runtime.bundle.archive import is_packed, pack, unpack

CONTENTS = {"a": b"first", "b": b""}
FILES = st.dictionaries(st.text("abc._-", min_size=1), st.binary(max_size=50), max_size=4)


def test_same_content_is_same_bytes(zipped: Callable[..., bytes]) -> None:
    assert pack(CONTENTS) == pack(dict(CONTENTS)) == zipped(CONTENTS)
    assert pack(CONTENTS) != pack(dict(reversed(CONTENTS.items())))


def files_of(data: bytes) -> dict[str, bytes]:
    places = unpack(io.BytesIO(data))
    return {name: data[start : start + size] for name, (start, size) in places.items()}


def packed(data: bytes, contents: dict[str, bytes]) -> bool:
    return is_packed(io.BytesIO(data), contents, unpack(io.BytesIO(data)))


@given(FILES)
def test_as_zipfile_writes_it(zipped: Callable[..., bytes], contents: dict[str, bytes]) -> None:
    data = pack(contents)
    assert data == zipped(contents)
    assert files_of(data) == contents
    assert packed(data, contents)
    assert not packed(data + b"x", contents)
    assert not packed(data[:-1], contents)


@given(FILES, st.data())
def test_whatever_changes(contents: dict[str, bytes], data: st.DataObject) -> None:
    """What is unpacked from changed bytes, if anything, never packs to them by chance."""
    changed = bytearray(pack(contents))
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = files_of(bytes(changed))
    except BundleError:
        return
    assert packed(bytes(changed), found) == (bytes(changed) == pack(found))


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for start in (b"", b"PK\x03\x04"):
        try:
            assert sum(map(len, files_of(start + data).values())) <= len(data)
        except BundleError:
            continue


def test_too_many_files() -> None:
    with pytest.raises(BundleError, match="at most 64 whole files"):
        unpack(io.BytesIO(pack({str(number): b"" for number in range(65)})))


@pytest.mark.not_on_a_board(reason="compresses 150 MB, which takes many times as long there")
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_entry_is_not_unpacked(zipped: Callable[..., bytes], method: int) -> None:
    """A zip bomb is compressed: 50 MB in 50 kB or less."""
    data = zipped({"a": bytes(50_000_000)}, method)
    assert len(data) < 60_000
    with pytest.raises(BundleError, match="expected a zip without compression, got method"):
        unpack(io.BytesIO(data))


def test_file_that_ends_beyond_the_zip() -> None:
    """4 GB are more than a 32-bit machine can seek to in memory."""
    data = bytearray(pack({"a": b"abc"}))
    data[18:22] = b"\xff" * 4
    with pytest.raises(BundleError, match=rf"4294967\d+ bytes at least, got {len(data)}"):
        unpack(io.BytesIO(data))


def test_no_zip() -> None:
    with pytest.raises(BundleError, match="expected a zip: byte 0 is no part of one"):
        unpack(io.BytesIO(b"no"))
