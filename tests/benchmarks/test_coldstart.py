import sys

import numpy as np
import pytest

from tinsmith_bench import child, coldstart
from tinsmith_bench.coldstart import run_probe, summarize_runs
from tinsmith_bench.probe import peak_rss_bytes
from tinsmith_runtime import TinsmithError

COSTS = ("interpreter_ms", "import_ms", "load_ms", "first_ms", "start_ms", "peak_rss_bytes")


def test_runs_are_summarized_by_median_lowest_and_highest():
    start = summarize_runs([dict.fromkeys(COSTS, value) for value in (7, 1, 2)])
    assert (start.load_ms.value, start.load_ms.low, start.load_ms.high) == (2, 1, 7)
    assert start.runs == 3


def test_a_child_that_fails_is_quoted_in_one_line(tmp_path):
    with pytest.raises(
        TinsmithError, match=r"int8 on litert ended with status 1: .*no such bundle"
    ):
        run_probe(tmp_path / "none.tin", "litert", "int8", 1, tmp_path / "sample.npy")


def test_a_child_gets_the_arguments_and_its_last_line_is_read(tmp_path, monkeypatch):
    probe = tmp_path / "probe.py"
    probe.write_text(
        "import json, sys\nprint('noise')\nprint(json.dumps({'words': sys.argv[1:-1]}))\n"
    )
    monkeypatch.setattr(coldstart, "PROBE", probe)
    costs = run_probe(tmp_path / "a b.tin", "onnx", "float", 2, tmp_path / "x.npy")
    assert costs == {
        "words": [str(tmp_path / "a b.tin"), "onnx", "float", "2", str(tmp_path / "x.npy")]
    }


def test_a_child_that_hangs_is_given_up(tmp_path, monkeypatch):
    probe = tmp_path / "probe.py"
    probe.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(coldstart, "PROBE", probe)
    monkeypatch.setattr(child, "TIMEOUT_S", 0.2)
    with pytest.raises(TinsmithError, match=r"cold start of int8 on onnx: .*timed out"):
        run_probe(tmp_path / "digits.tin", "onnx", "int8", 1, tmp_path / "x.npy")


def test_a_real_start_is_split_into_its_parts(tiny, tmp_path):
    sample = tmp_path / "sample.npy"
    np.save(sample, np.zeros((8, 8, 1), np.uint8))
    costs = run_probe(tiny, "onnx", "int8", 1, sample)
    assert tuple(costs) == COSTS
    parts = [costs[name] for name in COSTS[:4]]
    assert costs["start_ms"] == pytest.approx(sum(parts))
    # A Python cannot start, nor numpy be imported, within a millisecond; a tiny model can be run.
    assert costs["interpreter_ms"] > 1
    assert costs["import_ms"] > 1
    assert all(part > 0 for part in parts)
    assert costs["peak_rss_bytes"] > 20e6


def test_peak_memory_is_that_of_this_process_in_bytes():
    before = peak_rss_bytes()
    block = bytearray(64 << 20)
    # The allocation is resident once written to; other allocations come and go meanwhile.
    assert peak_rss_bytes() >= before
    assert before > 5 << 20
    assert peak_rss_bytes() < before + 2 * len(block)


@pytest.mark.skipif(sys.platform != "linux", reason="VmHWM is Linux's")
def test_a_child_is_not_charged_for_its_parent(tmp_path, monkeypatch):
    source = coldstart.PROBE.read_text().partition("if __name__")[0]
    probe = tmp_path / "probe.py"
    probe.write_text(source + "print(json.dumps({'peak': peak_rss_bytes()}))\n")
    monkeypatch.setattr(coldstart, "PROBE", probe)
    ballast = bytearray(b"x") * (200 << 20)
    found = run_probe(tmp_path / "digits.tin", "onnx", "int8", 1, tmp_path / "x.npy")
    assert found["peak"] < len(ballast) / 4
