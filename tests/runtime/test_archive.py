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
    with unpack(pack(CONTENTS)) as read:
        assert read("a", 5) == b"first"
        assert read("b", 0) == b""


@pytest.mark.parametrize(
    ("name", "limit", "message"),
    [("a", 4, "a: expected at most 4 bytes, got 5"), ("c", 9, "c: missing")],
)
def test_unpack_refuses(name: str, limit: int, message: str):
    with pytest.raises(BundleError, match=re.escape(message)), unpack(pack(CONTENTS)) as read:
        read(name, limit)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_entry_is_not_unpacked(zipped, method: int):
    """A zip bomb is compressed: 50 MB in 50 kB or less."""
    data = zipped({"a": bytes(50_000_000)}, method)
    assert len(data) < 60_000
    with pytest.raises(BundleError, match="a: expected it uncompressed"), unpack(data) as read:
        read("a", 1 << 40)


def test_no_zip():
    with pytest.raises(BundleError, match="expected a zip: "), unpack(b"no"):
        pass
