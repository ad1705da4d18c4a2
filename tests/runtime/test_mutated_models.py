"""Broken model files in the self-test: a few hundred in forks, and some as a user meets them."""

import json
import subprocess
import sys
from pathlib import Path

import mutated_models
import mutations
import pytest

from tinsmith_runtime import BackendError, BundleError, read_bundle, selftest
from tinsmith_runtime.bundle import dump_manifest

MUTATIONS, AS_A_USER = 200, 5

pytestmark = [pytest.mark.slow, pytest.mark.not_on_a_board(reason="starts hundreds of processes")]


@pytest.mark.parametrize("form", ["tflite", "onnx"])
def test_mutations(tiny: Path, form: str) -> None:
    """No traceback, no hang, no stray file, and no crash but in the process that tries it."""
    line = [sys.executable, "-W", "error", mutated_models.__file__, str(tiny), form, "0"]
    done = subprocess.run([*line, str(MUTATIONS)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    good = {"refused", "different", "unchanged", "crashed", "late"}
    assert counts.keys() <= good, done.stdout
    assert sum(counts.values()) == MUTATIONS
    assert counts["refused"] > MUTATIONS / 2


@pytest.mark.parametrize("form", ["tflite", "onnx"])
@pytest.mark.parametrize("seed", range(AS_A_USER))
def test_mutations_as_a_user_meets_them(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, seed: int
) -> None:
    monkeypatch.chdir(tmp_path)
    _, broken = mutated_models.mutate(read_bundle(tiny), form, seed)
    files = mutations.with_right_hashes(
        {"manifest.json": dump_manifest(broken.manifest), **broken.files}, {}
    )
    path = tmp_path / "broken.tin"
    path.write_bytes(mutations.zipped(list(files.items())))
    said = ""
    try:
        selftest(path)
    except (BundleError, BackendError) as error:
        said = str(error)
    assert "\n" not in said
    assert list(tmp_path.iterdir()) == [path]
