import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tinsmith_data.errors import DatasetError
from tinsmith_data.idx import decode_idx, encode_idx, read_idx

images = arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=5))


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6)))
def test_decoding_gives_back_what_was_encoded(array: np.ndarray) -> None:
    decoded = decode_idx(encode_idx(array), array.ndim, "file")
    assert decoded.dtype == np.uint8
    assert decoded.shape == array.shape
    assert (decoded == array).all()


@given(images, st.data())
def test_every_truncation_is_refused(array: np.ndarray, data: st.DataObject) -> None:
    whole = encode_idx(array)
    length = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(DatasetError, match="file: truncated"):
        decode_idx(whole[:length], 3, "file")


@given(images, st.binary(min_size=1, max_size=9))
def test_bytes_after_the_end_are_refused(array: np.ndarray, more: bytes) -> None:
    with pytest.raises(DatasetError, match="too long"):
        decode_idx(encode_idx(array) + more, 3, "file")


@given(st.binary(max_size=64), st.integers(1, 3))
def test_any_bytes_are_an_array_or_an_error(data: bytes, ndim: int) -> None:
    try:
        array = decode_idx(data, ndim, "file")
    except DatasetError:
        return
    assert encode_idx(array) == data


def test_labels_in_place_of_images_are_named() -> None:
    labels = encode_idx(np.zeros(20, np.uint8))
    with pytest.raises(DatasetError, match=r"expected magic number 2051 \(images\), got 2049 \(l"):
        decode_idx(labels, 3, "file")


def test_a_file_may_be_gzipped_whatever_its_name(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    for name, data in (("a", encode_idx(array)), ("b", gzip.compress(encode_idx(array)))):
        (tmp_path / name).write_bytes(data)
        assert (read_idx(tmp_path / name, 3) == array).all()


def test_damaged_gzip_is_one_line(tmp_path: Path) -> None:
    packed = gzip.compress(encode_idx(np.arange(200, dtype=np.uint8)))
    path = tmp_path / "labels.gz"
    for damaged in (packed[:-9], packed[:30] + bytes(20) + packed[50:], packed[:3]):
        path.write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"labels\.gz: "):
            read_idx(path, 1)
