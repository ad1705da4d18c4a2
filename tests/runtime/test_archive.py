import io
import re
import zipfile

import pytest

from tinsmith_runtime import BundleError
from tinsmith_runtime.archive import pack, unpack

CONTENTS = {"a": b"first", "b": b""}


def test_same_content_is_same_bytes(zipped):
    assert pack(CONTENTS) == pack(dict(CONTENTS)) == zipped(CONTENTS)
    assert pack(CONTENTS) != pack(dict(reversed(CONTENTS.items())))


def test_unpack():
    with unpack(io.BytesIO(pack(CONTENTS))) as (_, read):
        assert read("a", 5) == b"first"
        assert read("b", 0) == b""


@pytest.mark.parametrize(
    ("name", "limit", "message"),
    [("a", 4, "a: expected at most 4 bytes, got 5"), ("c", 9, "c: missing")],
)
def test_unpack_refuses(name: str, limit: int, message: str):
    with (
        pytest.raises(BundleError, match=re.escape(message)),
        unpack(io.BytesIO(pack(CONTENTS))) as (_, read),
    ):
        read(name, limit)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_entry_is_not_unpacked(zipped, method: int):
    """A zip bomb is compressed: 5 MB in 5 kB or less."""
    data = zipped({"a": bytes(5_000_000)}, method)
    assert len(data) < 6_000
    with (
        pytest.raises(BundleError, match="a: expected it uncompressed"),
        unpack(io.BytesIO(data)) as (_, read),
    ):
        read("a", 1 << 40)


def test_no_zip():
    with pytest.raises(BundleError, match="expected a zip: "), unpack(io.BytesIO(b"no")):
        pass
