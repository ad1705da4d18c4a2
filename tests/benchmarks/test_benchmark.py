"""The whole benchmark on engines made up for it, whose answers and speeds are known."""

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Never

import numpy as np
import pytest
from narrow import some
from numpy.typing import NDArray

import tinsmith_bench
from tinsmith_bench import Options, bench, parse_report, session, target
from tinsmith_bench.report_data import Method
from tinsmith_bench.target import Target
from tinsmith_bench.timing import coldstart, latency
from tinsmith_bench.timing.coldstart import Costs
from tinsmith_bench.timing.timings import Timings
from tinsmith_runtime import BackendError, TinsmithError, UsageError
from tinsmith_runtime.backends import BackendSpec, known_backends
from tinsmith_runtime.cli import main

NAMES = {"litert": "LiteRT 2.3.0", "onnx": "ONNX Runtime 1.32.0", "third": "Third 1.0"}
DELAYS_S = {"float": 1e-4, "int8": 2e-4}


class FakeRunner:
    """Tells the brightest pixel of the top row; `int8` takes class 2 for 1 and twice the time."""

    def __init__(self, path: Path, backend: str, precision: str, threads: int) -> None:
        assert path.exists()
        assert threads >= 1
        self.precision = precision
        self.engine_version = NAMES[backend]
        self.closed = False

    def encode(self, inputs: NDArray[np.uint8]) -> NDArray[np.uint8]:
        assert inputs.dtype == np.uint8
        return inputs

    def run(self, encoded: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert not self.closed
        time.sleep(DELAYS_S[self.precision] / 2)
        scores = encoded[:, 0, :3, 0].astype(np.float32)
        if self.precision == "int8":
            scores[:, 1] += scores[:, 2]
        return scores

    def decode(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        return outputs

    def predict(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        time.sleep(DELAYS_S[self.precision] / 2)
        return self.run(inputs)

    def answer(self, sample: NDArray[np.uint8]) -> object:
        return self.predict(sample[np.newaxis]).argmax()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs made-up engines; a test may set another list of them."""

    def install(*backends: str) -> None:
        for module in (session, target):
            monkeypatch.setattr(module, "installed_backends", lambda: backends)

    def probe(
        path: Path,
        backend: str,
        precision: str,
        threads: int,
        samples: Sequence[Path],
        limit_s: float,
    ) -> Costs:
        assert path.exists()
        assert [np.load(sample).shape for sample in samples] == [(4, 4, 1)]
        assert 120 < limit_s < 200
        return Costs(*[1.0 + (precision == "int8") + 2 * (backend == "onnx")] * 6)

    def run_process(
        targets: list[Target],
        inputs: NDArray[np.uint8],
        method: Method,
        seed: tuple[int, ...],
        limit_s: float,
    ) -> dict[tuple[str, int], Timings]:
        assert 120 < limit_s < 600
        return latency.measure_rounds(targets, inputs, method, seed)

    install("litert", "onnx")
    monkeypatch.setattr(target, "ModelRunner", FakeRunner)
    monkeypatch.setattr(latency, "run_process", run_process)
    monkeypatch.setattr(coldstart, "run_probe", probe)
    return install


def options(**changes: Any) -> Options:
    return Options(**{"rounds": 4, "processes": 2, "cold_starts": 2, **changes})


@pytest.mark.usefixtures("engines")
def test_every_variant_is_measured_on_its_engine(bundle: Path, samples: Path) -> None:
    stages = []
    report = bench(
        [bundle], data=samples, options=options(), watch=lambda *told: stages.append(told)
    )
    assert [one.name for one in report.variants] == [
        "float on LiteRT",
        "int8 on LiteRT",
        "float on ONNX Runtime",
        "int8 on ONNX Runtime",
    ]
    assert (report.dataset.name, report.dataset.samples) == ("test.npz", 90)
    assert report.dataset.targets == "labels"
    assert report.machine.engines == {name: NAMES[name] for name in ("litert", "onnx")}
    assert [info.file for info in report.bundles] == ["tiny.tin"]
    exact, coarse = report.variants[:2]
    assert (some(exact.accuracy).correct, exact.fidelity) == (90, None)
    assert some(coarse.accuracy).correct == 60
    assert some(coarse.accuracy).topk.value == 1
    assert some(coarse.fidelity).baseline == exact.id
    fidelity = some(coarse.fidelity)
    assert some(fidelity.agreement).value == pytest.approx(2 / 3)
    assert fidelity.flipped == 30
    assert {(flip.was, flip.now, flip.shape) for flip in some(coarse.fidelity).flips} == {
        (2, 1, (4, 4, 1))
    }
    assert exact.size_bytes == len(b"float tflite")
    # What sleeps for 100 and 200 µs takes longer than that; in ns it would be 1,000 times as much.
    fast, slow = exact.speed, coarse.speed
    assert 100 < fast.latency_us.min <= fast.latency_us.p50 < slow.latency_us.p99
    assert 200 < slow.latency_us.min < 200_000
    assert 50 < fast.engine_us.p50 < fast.latency_us.p50
    assert len(fast.latency_us.rounds_p50) == 4
    assert [rate.batch for rate in fast.throughput] == [1, 8, 32]
    assert fast.throughput[2].samples_per_s < 32 / 1e-4
    assert [some(one.cold_start).load_ms.value for one in report.variants] == [1, 2, 3, 4]
    assert {what for what, _, _ in stages} == {"accuracy", "speed", "cold start"}
    last = {what: (done, total) for what, done, total in stages}
    assert all(done == total for done, total in last.values())


def test_a_third_backend_is_measured_by_its_spec_alone(
    bundle: Path, samples: Path, engines: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    third = BackendSpec("third", "Third", ("onnx",), ("third",), "third", "third:Third")
    monkeypatch.setattr(target, "known_backends", lambda: (*known_backends(), third))
    engines("onnx", "third")
    report = bench([bundle], data=samples, options=options())
    assert [(one.id, one.name) for one in report.variants] == [
        ("float-onnx", "float on ONNX Runtime"),
        ("int8-onnx", "int8 on ONNX Runtime"),
        ("float-onnx-third", "float on Third"),
        ("int8-onnx-third", "int8 on Third"),
    ]
    assert some(report.variants[3].fidelity).baseline == "float-onnx-third"


@pytest.mark.usefixtures("engines")
def test_every_two_variants_are_compared(bundle: Path, samples: Path) -> None:
    report = bench([bundle], data=samples, options=options())
    assert len(report.comparisons) == 4 * 3 / 2
    there = report.compare("int8-tflite", "float-tflite")
    assert (there.lost, there.won) == (30, 0)
    assert some(there.mcnemar_p) < 1e-6
    assert there.agreement == pytest.approx(2 / 3)
    assert there.speed.latency.value > 1.2
    assert there.speed.engine.value > 1.2
    assert there.speed.fastest > 1.2
    assert "ship float on" in report.verdict[0]
    assert "It loses 33.33 points of accuracy" in report.verdict[1]


@pytest.mark.usefixtures("engines")
def test_threads_batches_and_a_rate_are_measured_as_asked(bundle: Path, samples: Path) -> None:
    report = bench(
        [bundle],
        data=samples,
        options=options(threads=(1, 2, 2), batches=(4,), rate_hz=200.0),
    )
    assert report.method.threads == (1, 2)
    for one in report.variants:
        assert [speed.threads for speed in one.speeds] == [1, 2]
        assert [rate.batch for rate in one.speed.throughput] == [4]
        assert some(one.speed.paced_us).calls == 2 * latency.PACED_CALLS
        assert 0 <= some(one.speed.late) <= 1
    assert [ratio.threads for ratio in report.comparisons[0].speeds] == [1, 2]


@pytest.mark.usefixtures("engines")
def test_without_labels_agreement_is_told_and_said_to_be_all(
    bundle: Path, tmp_path: Path, samples: Path
) -> None:
    unlabelled = tmp_path / "unlabelled.npz"
    np.savez(unlabelled, x=np.load(samples)["x_test"])
    report = bench([bundle], data=unlabelled, options=options())
    assert report.dataset.targets == "none"
    assert all(one.accuracy is None for one in report.variants)
    assert some(some(report.variants[1].fidelity).agreement).value == pytest.approx(2 / 3)
    assert some(report.variants[1].fidelity).flips[0].label is None
    assert any("only how close a variant is to float" in note for note in report.notes)
    assert "Without labels only agreement can be told" in report.verdict[1]


@pytest.mark.usefixtures("engines")
def test_several_bundles_are_measured_in_one_table(
    bundle: Path, samples: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.tin"
    other.write_bytes(bundle.read_bytes())
    report = bench([bundle, other], data=samples, options=options())
    assert [one.id for one in report.variants][:5] == [
        *("tiny/float-tflite", "tiny/int8-tflite", "tiny/float-onnx", "tiny/int8-onnx"),
        "other/float-tflite",
    ]
    assert some(report.variants[5].fidelity).baseline == "other/float-tflite"
    assert len(report.comparisons) == 8 * 7 / 2
    with pytest.raises(UsageError, match="several different ones"):
        bench([bundle, bundle], data=samples, options=options())
    folder = tmp_path / "copy"
    folder.mkdir()
    twin = folder / "tiny.tin"
    twin.write_bytes(bundle.read_bytes())
    report = bench([bundle, twin], data=samples, options=options())
    assert [(info.name, info.file) for info in report.bundles] == [
        ("A", "tiny.tin"),
        ("B", "tiny.tin"),
    ]
    assert report.variants[-1].name == "B: int8 on ONNX Runtime"


@pytest.mark.usefixtures("engines")
def test_a_competitor_is_measured_beside_the_bundle(bundle: Path, samples: Path) -> None:
    def open_runner(threads: int) -> Any:
        return FakeRunner(bundle, "litert", "float", threads)

    competitor = target.Target(
        id="competitor",
        bundle="tiny",
        name="a competitor",
        engine="litert",
        precision="int8",
        file="competitor.tflite",
        size_bytes=7,
        open=open_runner,
        probe=None,
    )
    report = bench([bundle], data=samples, options=options(), competitors=[competitor])
    found = report.variants[-1]
    assert (found.id, found.cold_start, some(found.accuracy).correct) == ("competitor", None, 90)
    assert report.compare("competitor", "float-tflite").agreement == 1
    assert some(found.fidelity).baseline == "float-tflite"


@pytest.mark.usefixtures("engines")
def test_outputs_that_are_no_numbers_end_the_benchmark(
    bundle: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a mean of them would pass every gate."""

    class Broken(FakeRunner):
        def run(self, encoded: NDArray[np.uint8]) -> NDArray[np.float32]:
            scores = super().run(encoded)
            scores[0] = np.nan
            return scores

    monkeypatch.setattr(target, "ModelRunner", Broken)
    with pytest.raises(TinsmithError, match=r"float on LiteRT: .* NaN or infinity for 3 of 90"):
        bench([bundle], data=samples, options=options())


def test_an_engine_that_is_missing_is_named_and_the_rest_is_measured(
    bundle: Path, samples: Path, engines: Callable[..., None]
) -> None:
    engines("onnx")
    report = bench([bundle], data=samples, options=options())
    assert {one.engine for one in report.variants} == {"onnx"}
    assert report.notes[0] == (
        "LiteRT is not installed here, so its variants were not measured: "
        "pip install 'tinsmith-runtime[litert]'."
    )


def test_without_an_engine_for_the_bundle_its_extras_are_named(
    bundle: Path, samples: Path, engines: Callable[..., None]
) -> None:
    engines()
    with pytest.raises(BackendError, match=r"tinsmith-runtime\[litert\].*tinsmith-runtime\[onnx\]"):
        bench([bundle], data=samples)


@pytest.mark.usefixtures("engines")
def test_a_disturbed_run_is_mentioned(
    bundle: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "DISTURBED", 0.5)
    report = bench([bundle], data=samples, options=options())
    assert any("Something else disturbed the timings" in text for text in report.warnings)


def test_data_other_than_the_bundle_was_made_with_is_mentioned(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, engines: Callable[..., None]
) -> None:
    engines("litert")
    images = np.zeros((6, 4, 4, 1), np.uint8)
    found = SimpleNamespace(
        name="nosuchset", sha256="1" * 64, x_test=images, y_test=np.arange(6) % 3
    )
    monkeypatch.setattr("tinsmith_bench.samples.load_dataset", lambda *_, **__: found)
    monkeypatch.setattr("tinsmith_bench.samples.DATASETS", ("nosuchset",))
    report = bench([bundle], options=options())
    assert report.dataset.name == "nosuchset"
    assert any("its hash differs" in note for note in report.notes)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rounds": 1}, "rounds: expected a whole number from 2 to 1000000, got 1"),
        ({"rounds": 10**9}, "rounds: expected a whole number from 2"),
        ({"rounds": 2.0}, "rounds: expected a whole number from 2"),
        ({"processes": 1}, "processes: expected a whole number from 2"),
        ({"threads": ()}, r"threads: expected whole numbers from 1 to 1024, got \(\)"),
        ({"threads": (1, 0)}, r"threads: expected whole numbers from 1 to 1024, got \(1, 0\)"),
        ({"threads": (10**6,)}, "threads: expected whole numbers from 1"),
        ({"threads": 1}, "threads: expected whole numbers from 1"),
        ({"batches": (0,)}, "batches: expected whole numbers from 1"),
        ({"batches": (10**9,)}, "batches: expected whole numbers from 1"),
        ({"cold_starts": 0}, "cold_starts: expected a whole number from 1"),
        ({"top_k": 0}, "top_k: expected a whole number from 1"),
        ({"seed": -1}, "seed: expected a whole number from 0 to 4294967295, got -1"),
        ({"seed": 2**32}, "seed: expected a whole number from 0"),
        ({"profile_calls": -1}, "profile_calls: expected a whole number from 0"),
        ({"rate_hz": 0.0}, "rate_hz: expected a number from 0.1 to 10000, got 0.0"),
        ({"rate_hz": float("nan")}, "rate_hz: expected a number"),
        ({"rate_hz": "30"}, "rate_hz: expected a number"),
    ],
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Options(**wrong)


@pytest.mark.parametrize("path", ["/dev/null", "/sys/report", "r" * 300, "nowhere/report"])
@pytest.mark.parametrize("kind", ["--json", "--markdown", "--html"])
def test_a_report_that_cannot_be_written_is_found_before_the_work(
    kind: str, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "none.tin", kind, path]) == 2
    said = capsys.readouterr().err
    assert path in said
    assert "none.tin" not in said


def test_rounds_are_shared_by_the_processes_and_none_is_left_out() -> None:
    for rounds, processes in ((7, 3), (2, 20), (200, 20), (48, 8)):
        found = session.plan_method(Options(rounds=rounds, processes=processes), 3)
        assert found.rounds >= rounds
        assert found.rounds == found.processes * found.rounds_per_process
        assert 2 <= found.processes <= processes


@pytest.mark.usefixtures("engines")
def test_the_command_prints_and_writes_the_report(
    bundle: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", str(bundle), "--data", str(samples), "--rounds", "2"]
    files = ["--json", str(tmp_path / "r.json"), "--markdown", str(tmp_path / "r.md")]
    assert main([*words, *files]) == 0
    out, err = capsys.readouterr()
    assert "On this machine ship float on" in " ".join(out.split())
    assert err.split("\n") == [
        "accuracy done",
        "speed done",
        "cold start done",
        "",
    ]
    assert json.loads((tmp_path / "r.json").read_text())["dataset"]["name"] == "test.npz"
    assert "| float on LiteRT | 100.00" in (tmp_path / "r.md").read_text()

    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("engines")
def test_a_script_gets_json_alone(
    bundle: Path, samples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", str(bundle), "--data", str(samples), "--rounds", "2", "--quiet"]
    assert main([*words, "--json", "-", "--top-k", "2"]) == 0
    report = parse_report(capsys.readouterr().out)
    assert report.method.top_k == 2
    assert main([*words, "--json", "-", "--fail-if", "size_bytes > 1"]) == 1
    out, err = capsys.readouterr()
    assert parse_report(out).dataset.samples == 90
    assert "Failed: size_bytes > 1: float-tflite: 12" in err


@pytest.mark.usefixtures("engines")
def test_a_baseline_is_compared_with_and_gates_decide_the_status(
    bundle: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old.json"
    words = ["bench", str(bundle), "--data", str(samples), "--rounds", "8", "--quiet"]
    assert main([*words, "--json", str(old)]) == 0
    assert "What moved" not in capsys.readouterr().out
    gates = ["--fail-if", "accuracy < -0.2pp", "--fail-if", "size_bytes > 1.5x"]
    assert main([*words, "--baseline", str(old), *gates]) == 0
    out = capsys.readouterr().out
    assert "What moved" in out
    assert "No gate of 2 failed." in out
    tree = json.loads(old.read_text())
    tree["variants"][1]["size_bytes"] = 5
    tree["variants"][1]["accuracy"]["wrong"] = []
    tree["variants"][1]["accuracy"]["correct"] = 90
    tree["variants"][1]["accuracy"]["top1"].update(value=1.0, high=1.0)
    old.write_text(json.dumps(tree))
    assert main([*words, "--baseline", str(old), *gates]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "Failed: accuracy < -0.2pp: int8-tflite: -33.33 pp" in out
    assert "Failed: size_bytes > 1.5x: int8-tflite: 2.200x" in out


@pytest.mark.usefixtures("engines")
def test_a_file_that_cannot_be_written_does_not_cost_the_report(
    bundle: Path,
    samples: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["bench", str(bundle), "--data", str(samples), "--rounds", "2", "--quiet"]

    def fail(*_: object) -> Never:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    assert main([*words, "--json", str(tmp_path / "r.json")]) == 1
    out, err = capsys.readouterr()
    assert "On this machine ship" in out
    assert "cannot be written: No space left on device" in err
    assert not list(tmp_path.glob("*.tmp"))
    assert err.count("\n") == 1


@pytest.mark.usefixtures("engines")
def test_a_terminal_sees_progress_in_place(
    bundle: Path, samples: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["bench", str(bundle), "--data", str(samples), "--rounds", "2"]) == 0
    assert "\rspeed  50 %\r" in capsys.readouterr().err


@pytest.mark.usefixtures("engines")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.tin"], "none.tin: no such bundle"),
        (["{bundle}"], "trained on nosuchset"),
        (
            ["{bundle}", "--data", "another"],
            "--data another: expected mnist, digits, scenes, digit-scenes, a FOLDER",
        ),
        (["{bundle}", "--data", "none.npz"], "no file none.npz"),
        (
            ["{bundle}", "--data", "{bundle}"],
            "tiny.tin: expected mnist, digits, scenes, digit-scenes, a FOLDER",
        ),
        (
            ["{bundle}", "--data", "{samples}", "--rounds", "0"],
            "rounds: expected a whole number from 2",
        ),
        (["{bundle}", "{bundle}", "--data", "{samples}"], "several different ones"),
        (["{bundle}", "--baseline", "none.json"], "none.json: cannot be read"),
        (["{bundle}", "--fail-if", "latency_us_p50 > 1.1x"], "name it with --baseline"),
        (["{bundle}", "--fail-if", "speed > 3"], "expected one of latency_us_p50"),
        (["{bundle}", "--html", "none/r.html"], "there is no folder none"),
        (["{bundle}", "--data", "{samples}", "--json", "none/r.json"], "there is no folder none"),
        (["{bundle}", "--data", "{samples}", "--markdown", "{folder}"], "got a folder"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    bundle: Path,
    samples: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    names = {"bundle": bundle, "samples": samples, "folder": tmp_path}
    assert main(["bench", *(word.format(**names) for word in words)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


def test_a_damaged_bundle_is_one_line_and_status_1(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 1
    bundle.write_bytes(data)
    assert main(["bench", str(bundle)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_help_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for option in (
        *("data", "json", "markdown", "html", "threads", "batch", "rate"),
        *("rounds", "quick", "top-k", "seed", "quiet", "baseline", "fail-if"),
    ):
        assert f"--{option}" in text


def test_the_package_shows_the_function_and_its_result() -> None:
    assert tinsmith_bench.__all__ == [
        *("Compared", "Options", "Report", "bench", "compare", "parse_report", "read_report"),
    ]


def test_importing_the_benchmarks_loads_nothing_heavy() -> None:
    code = "import sys, tinsmith_bench.command.bench; print(*sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {
        "tensorflow",
        "keras",
        "tf_keras",
        "matplotlib",
        "PIL",
        "sklearn",
        "onnx",
        "onnxruntime",
    }
    assert not heavy & set(child.stdout.split())
