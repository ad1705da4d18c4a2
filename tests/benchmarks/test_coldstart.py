import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from tinsmith_bench import Options
from tinsmith_bench.timing import coldstart
from tinsmith_bench.timing.coldstart import Costs, run_probe, summarize_runs
from tinsmith_bench.timing.limits import (
    LONGEST_S,
    START_S,
    making_limit_s,
    start_limit_s,
    timing_limit_s,
)
from tinsmith_bench.timing.probe import peak_rss_bytes
from tinsmith_runtime import TinsmithError

COSTS = ("interpreter_ms", "import_ms", "load_ms", "first_ms", "start_ms", "peak_rss_bytes")


def test_runs_are_summarized_by_median_lowest_and_highest() -> None:
    start = summarize_runs([Costs(*[float(value)] * 6) for value in (7, 1, 2)])
    assert (start.load_ms.value, start.load_ms.low, start.load_ms.high) == (2, 1, 7)
    assert start.runs == 3


def test_a_child_that_fails_is_quoted_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        TinsmithError, match=r"int8 on litert ended with status 1: .*no such bundle"
    ):
        run_probe(tmp_path / "none.tin", "litert", "int8", 1, [tmp_path / "sample.npy"], 60)


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Costs]:
    """Runs a child that answers as it is told, and gets five words besides its channel."""

    def run(*lines: str, limit_s: float = 60) -> Costs:
        path = tmp_path / "probe.py"
        path.write_text("import os, sys\nchannel = int(sys.argv[-1])\n" + "\n".join(lines))
        monkeypatch.setattr(coldstart, "PROBE", path)
        sample = tmp_path / "x.npy"
        return run_probe(tmp_path / "a b.tin", "onnx", "float", 2, [sample], limit_s)

    return run


ANSWER = json.dumps(dict.fromkeys(COSTS, 1.5)).encode()


def test_a_child_gets_the_arguments_and_what_it_prints_is_no_answer(
    probe: Callable[..., Costs], tmp_path: Path
) -> None:
    expected = [str(tmp_path / "a b.tin"), "onnx", "float", "2", str(tmp_path / "x.npy")]
    costs = probe(
        f"assert sys.argv[1:-2] == {expected}",
        "print('{}')",
        "os.write(1, b'{\\x1b[2J' * 100_000)",  # as an engine's printf
        f"os.write(channel, {ANSWER!r})",
        "os.write(1, b'more')",
        "os.write(2, b'and more')",
    )
    assert costs == Costs(*[1.5] * 6)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "gave no answer that makes sense"),
        (ANSWER[:30], "gave no answer that makes sense"),
        (b"\xff" + ANSWER, "gave no answer that makes sense"),
        (b"[" * 100_000, "lie too deep"),
        (ANSWER.replace(b"1.5", b"NaN", 1), "expected a finite number, got NaN"),
        (ANSWER.replace(b"1.5", b"1e999", 1), "interpreter_ms: expected a finite number"),
        (ANSWER.replace(b"1.5", b"-1", 1), "interpreter_ms: expected more than 0"),
        (ANSWER.replace(b"1.5", b'"fast"', 1), "interpreter_ms: expected a finite number"),
        (ANSWER.replace(b"load_ms", b"import_ms"), "'import_ms' stands twice"),
        (ANSWER.replace(b"load_ms", b"other_ms"), "load_ms: missing"),
        (b"9" * 5000, "expected whole numbers up to 2"),
    ],
)
def test_an_answer_that_makes_no_sense_is_one_line(
    probe: Callable[..., Costs], answer: bytes, message: str
) -> None:
    with pytest.raises(TinsmithError, match=message) as caught:
        probe(f"os.write(channel, {answer!r})")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_child_that_hangs_is_given_up_and_the_limit_is_named(probe: Callable[..., Costs]) -> None:
    # Whoever inherits what it prints to may go on: nobody waits for that.
    lines = ["import subprocess, time", "subprocess.Popen(['sleep', '20'])", "time.sleep(60)"]
    begin = time.monotonic()
    with pytest.raises(TinsmithError, match=r"cold start of float on onnx: .* its limit of 1 s"):
        probe(*lines, limit_s=0.6)
    assert time.monotonic() - begin < 10


def test_the_limits_grow_with_the_model_and_with_the_work() -> None:
    plan = Options()
    least = timing_limit_s(plan, 4, 0, 0.0)
    assert START_S < least < 600
    assert timing_limit_s(plan, 4, 20_000_000, 0.0) == pytest.approx(least + 100)
    slow = timing_limit_s(plan, 4, 0, 0.1)
    # 400 calls of warm-up, 10 turns and the batches, each in 0.1 s: 72 s, 20 times as long at most.
    assert least + 20 * 70 < slow < least + 20 * 75
    assert timing_limit_s(replace(plan, rounds=2000), 4, 0, 0.1) > 2 * slow
    assert timing_limit_s(replace(plan, threads=(1, 2)), 4, 0, 0.1) > 1.9 * slow
    assert timing_limit_s(replace(plan, rate_hz=0.1), 4, 0, 0.1) > slow + 4 * 50
    assert timing_limit_s(plan, 4, 0, 1e9) == start_limit_s(10**15) == LONGEST_S
    assert start_limit_s(2_000_000, 1.0) == START_S + 10 + 20
    assert making_limit_s(2_000_000) == 610


def test_a_real_start_is_split_into_its_parts(tiny: Path, tmp_path: Path) -> None:
    sample = tmp_path / "sample.npy"
    np.save(sample, np.zeros((8, 8, 1), np.uint8))
    costs = asdict(run_probe(tiny, "onnx", "int8", 1, [sample], 60))
    assert tuple(costs) == COSTS
    parts = [costs[name] for name in COSTS[:4]]
    assert costs["start_ms"] == pytest.approx(sum(parts))
    # A Python cannot start, nor numpy be imported, within a millisecond; a tiny model can be run.
    assert costs["interpreter_ms"] > 1
    assert costs["import_ms"] > 1
    assert all(part > 0 for part in parts)
    assert costs["peak_rss_bytes"] > 20e6


def test_peak_memory_is_that_of_this_process_in_bytes() -> None:
    before = peak_rss_bytes()
    block = bytearray(64 << 20)
    # The allocation is resident once written to; other allocations come and go meanwhile.
    assert peak_rss_bytes() >= before
    assert before > 5 << 20
    assert peak_rss_bytes() < before + 2 * len(block)


@pytest.mark.skipif(sys.platform != "linux", reason="VmHWM is Linux's")
def test_a_child_is_not_charged_for_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = coldstart.PROBE.read_text().partition("if __name__")[0]
    probe = tmp_path / "probe.py"
    answer = f"answer = dict.fromkeys({COSTS}, peak_rss_bytes())\n"
    probe.write_text(f"{source}{answer}os.write(int(sys.argv[-1]), json.dumps(answer).encode())\n")
    monkeypatch.setattr(coldstart, "PROBE", probe)
    ballast = bytearray(b"x") * (200 << 20)
    found = run_probe(tmp_path / "digits.tin", "onnx", "int8", 1, [tmp_path / "x.npy"], 60)
    assert found.peak_rss_bytes < len(ballast) / 4
