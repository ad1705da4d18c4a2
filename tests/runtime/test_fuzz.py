"""Ten thousand broken bundles, each from its seed; and how much memory a bundle may take."""

import json
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import mutations
import numpy as np
import pytest
from narrow import array

from tinsmith_runtime import Bundle, BundleError, load, read_bundle

pytestmark = pytest.mark.slow

MUTATIONS = 10_002  # a third of them of each bundle
# The largest input that is not refused by its size alone is a manifest of 1 MiB; as lists in lists
# it becomes some 25 MB of objects, more than once. What is promised of a bomb is a gigabyte.
MOST_GROWN_KB = 150_000
BIG_BYTES = 8_000_000


@pytest.mark.not_on_a_board(reason="takes minutes there, and nothing in it depends on the CPU")
def test_ten_thousand_mutations(tiny: Path, pair: Path, boxes: Path, tmp_path: Path) -> None:
    """No crash, no exception but `BundleError`, nothing accepted that is not the same bundle."""
    bundles = (tiny, pair, boxes)
    each, started = MUTATIONS // len(bundles), []
    for first, whole in zip(range(0, MUTATIONS, each), bundles, strict=True):
        folder = tmp_path / str(first)
        folder.mkdir()
        words = (mutations.__file__, whole, folder, first, each)
        with (tmp_path / f"{first}.txt").open("w") as said:
            line = [sys.executable, "-W", "error", *map(str, words)]
            started.append((subprocess.Popen(line, stdout=said), Path(said.name)))
    outcomes: Counter[tuple[str, str]] = Counter()
    wrong = []
    for process, log in started:
        process.wait()
        *printed, last = log.read_text().splitlines()
        assert process.returncode == 0, f"ended with {process.returncode} on seed and kind {last}"
        for one in printed:
            seed, kind, found = one.split("\t")
            outcome = json.loads(found)["outcome"]
            outcomes[kind, outcome] += 1
            if outcome not in ("refused", "unchanged", "changed"):
                wrong.append(f"seed {seed}, {kind}: {found}")
        grown_kb, unit = last.split("\t")
        assert unit == "kB grown"
        assert int(grown_kb) < MOST_GROWN_KB
    assert wrong == []
    assert outcomes.total() == MUTATIONS
    refused = {kind: outcomes[kind, "refused"] for kind in mutations.KINDS}
    assert all(count > 300 for count in refused.values()), refused
    # A number put where the same number was, a file too many in a folder.
    assert outcomes.total() - sum(refused.values()) < MUTATIONS / 50


@pytest.fixture(scope="module")
def big(bundle: Bundle) -> dict[str, bytes]:
    """The files of a bundle of some megabytes, all as the manifest declares them."""
    return mutations.with_right_hashes(
        dict(bundle.files), {"model.int8.tflite": bytes(BIG_BYTES), "model.int8.onnx": b"x"}
    )


def _peak_bytes(path: Path) -> int:
    """What reading takes at most, numpy's arrays included."""
    tracemalloc.start()
    try:
        read_bundle(path).golden()
    except BundleError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_memory_of_a_large_bundle(form: str, big: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "big"
    if form == "zip":
        path.write_bytes(mutations.zipped(list(big.items())))
    else:
        mutations.write_folder(path, big)
    assert read_bundle(path).files == big
    assert BIG_BYTES < _peak_bytes(path) < 2.5 * BIG_BYTES


@pytest.mark.parametrize("what", ["promised", "padded", "directory", "hole"])
def test_memory_of_a_hostile_bundle(
    what: str, big: dict[str, bytes], bundle: Bundle, tmp_path: Path
) -> None:
    """Four times its size is the most, and a size that is a lie costs nothing."""
    path = tmp_path / "hostile.tin"
    small = mutations.zipped(list(bundle.files.items()))
    if what == "promised":  # a gigabyte of golden vectors, with three numbers behind it
        header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1073741824,)}\n"
        npy = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + b"123"
        golden = {"golden.npz": mutations.zipped([("inputs.npy", npy)])}
        files = mutations.with_right_hashes(dict(bundle.files), golden)
        path.write_bytes(mutations.zipped(list(files.items())))
    elif what == "padded":  # what lies before the zip is none of its entries
        path.write_bytes(bytes(BIG_BYTES) + small)
    elif what == "directory":  # a million entries, of 50 bytes each
        at = small.index(b"PK\1\2")
        entry = small[at : small.index(b"PK\1\2", at + 4)]
        end = mutations.zip_end(len(entry) * 10**6, at)
        path.write_bytes(small[:at] + entry * 10**6 + end)
    else:
        with path.open("wb") as stream:
            stream.truncate(1 << 34)  # a hole: it takes no room on the disk
    with pytest.raises(BundleError):
        read_bundle(path).golden()
    assert _peak_bytes(path) < 1_000_000


def test_swapped_models_are_named(bundle: Bundle, tmp_path: Path, engine: str) -> None:
    """A folder and a zip alike: the hash is right, so the engine is what finds it."""
    form, other = {"litert": ("tflite", "onnx"), "onnx": ("onnx", "tflite")}[engine]
    name, data = f"model.int8.{form}", bundle.files[f"model.int8.{other}"]
    files = mutations.with_right_hashes(dict(bundle.files), {name: data})
    mutations.write_folder(tmp_path / "folder", files)
    (tmp_path / "zip.tin").write_bytes(mutations.zipped(list(files.items())))
    for path in (tmp_path / "folder", tmp_path / "zip.tin"):
        assert array(read_bundle(path).golden().inputs).dtype == np.uint8
        with pytest.raises(BundleError, match=f"^{name}: "):
            load(path, engine)
