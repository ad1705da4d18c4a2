"""The whole benchmark on engines made up for it, whose answers and speeds are known."""

import json
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

import tinsmith_bench
from tinsmith_bench import bench, benchmark
from tinsmith_runtime import BackendError, UsageError
from tinsmith_runtime.command import main

NAMES = {"litert": "LiteRT 2.3.0", "onnx": "ONNX Runtime 1.32.0"}
DELAYS_S = {"float": 1e-4, "int8": 2e-4}


class FakeModel:
    """Tells the brightest pixel of the top row; `int8` takes class 2 for 1 and twice the time."""

    def __init__(self, bundle, backend, threads, precision):
        self.backend, self.precision, self.threads = backend, precision, threads
        self.engine_version = NAMES[backend]
        kind = {"litert": "tflite", "onnx": "onnx"}[backend]
        self.variant = next(
            v for v in bundle.manifest.variants if (v.format, v.precision) == (kind, precision)
        )
        self.closed = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True

    def predict_raw(self, batch):
        assert not self.closed
        assert batch.dtype == np.uint8
        scores = batch[:, 0, :3, 0].astype(np.float32)
        if self.precision == "int8":
            scores[:, 1] += scores[:, 2]
        return scores

    def predict(self, batch):
        time.sleep(DELAYS_S[self.precision])
        return self.predict_raw(batch)


@pytest.fixture
def engines(monkeypatch):
    """Installs made-up engines; a test may set another list of them."""

    def install(*backends):
        monkeypatch.setattr(benchmark, "installed_backends", lambda: backends)

    def probe(path, backend, precision, threads):
        assert path.exists()
        assert threads >= 1
        cost = 1.0 + (precision == "int8") + 2 * (backend == "onnx")
        return dict.fromkeys(
            ("import_ms", "load_ms", "first_ms", "start_ms", "peak_rss_bytes"), cost
        )

    install("litert", "onnx")
    monkeypatch.setattr(benchmark, "open_model", FakeModel)
    monkeypatch.setattr(benchmark, "run_probe", probe)
    return install


@pytest.mark.usefixtures("engines")
def test_every_variant_is_measured_on_its_engine(bundle, samples):
    stages = []
    report = bench(bundle, data=samples, rounds=3, watch=lambda *progress: stages.append(progress))
    assert [row.name for row in report.rows] == [
        "float on LiteRT",
        "int8 on LiteRT",
        "float on ONNX Runtime",
        "int8 on ONNX Runtime",
    ]
    assert report.dataset.name == "test.npz"
    assert report.dataset.images == 90
    assert report.machine.engines == NAMES
    assert report.bundle == "tiny.tin"
    exact, coarse = report.rows[:2]
    assert (exact.correct, exact.agreement) == (90, 1.0)
    assert (coarse.correct, coarse.agreement) == (60, pytest.approx(2 / 3))
    assert exact.size_bytes == len(b"float tflite")
    # What sleeps for 100 and 200 µs takes longer than that, and not ten times as long.
    assert 100 < exact.latency_us.min <= exact.latency_us.p50 < coarse.latency_us.p99
    assert 200 < coarse.latency_us.min < 2000
    assert exact.latency_us.samples == 3 * benchmark.CALLS_PER_ROUND
    assert exact.images_per_s < benchmark.BATCH / 1e-4
    assert [row.cold_start.load_ms.value for row in report.rows] == [1, 2, 3, 4]
    assert {what for what, _, _ in stages} == {"accuracy", "latency", "throughput", "cold start"}
    last = {what: (done, total) for what, done, total in stages}
    assert all(done == total for done, total in last.values())


@pytest.mark.usefixtures("engines")
def test_variants_are_compared_in_both_directions(bundle, samples):
    report = bench(bundle, data=samples, rounds=3)
    pairs = {(pair.candidate, pair.baseline): pair for pair in report.comparisons}
    assert len(pairs) == 4 * 3
    there = pairs["model.int8.tflite", "model.float.tflite"]
    back = pairs["model.float.tflite", "model.int8.tflite"]
    assert (there.lost, there.won) == (back.won, back.lost) == (30, 0)
    assert there.mcnemar_p == back.mcnemar_p < 1e-6
    assert there.p50_ratio.value == pytest.approx(1 / back.p50_ratio.value)
    assert there.p50_ratio.value > 1.2
    assert there.min_ratio == pytest.approx(1 / back.min_ratio)
    assert "It loses 33.33 points of accuracy" in report.verdict[0]
    assert "ship float on" in report.verdict[-1]


def test_an_engine_that_is_missing_is_named_and_the_rest_is_measured(bundle, samples, engines):
    engines("onnx")
    report = bench(bundle, data=samples, rounds=2)
    assert {row.backend for row in report.rows} == {"onnx"}
    assert report.notes[0] == (
        "LiteRT is not installed here, so its variants were not measured: "
        "pip install 'tinsmith-runtime[litert]'."
    )


def test_without_an_engine_for_the_bundle_its_extras_are_named(bundle, samples, engines):
    engines()
    with pytest.raises(BackendError, match=r"tinsmith-runtime\[litert\].*tinsmith-runtime\[onnx\]"):
        bench(bundle, data=samples)


@pytest.mark.usefixtures("engines")
def test_a_disturbed_run_is_mentioned(bundle, samples, monkeypatch):
    monkeypatch.setattr(benchmark, "DISTURBED", 0.5)
    report = bench(bundle, data=samples, rounds=2)
    assert any("Something else disturbed the timings" in note for note in report.notes)


def test_data_other_than_the_bundle_was_made_with_is_mentioned(bundle, monkeypatch, engines):
    engines("litert")
    images = np.zeros((6, 4, 4, 1), np.uint8)
    found = SimpleNamespace(
        name="nosuchset", sha256="1" * 64, x_test=images, y_test=np.arange(6) % 3
    )
    monkeypatch.setattr("tinsmith_bench.samples.load_dataset", lambda *_: found)
    report = bench(bundle, rounds=2)
    assert report.dataset.name == "nosuchset"
    assert any("its hash differs" in note for note in report.notes)


@pytest.mark.parametrize("wrong", [{"rounds": 1}, {"threads": 0}, {"seed": -1}])
def test_numbers_out_of_range_are_refused(bundle, samples, wrong):
    with pytest.raises(UsageError, match="at least 2 rounds, 1 thread and a seed from 0"):
        bench(bundle, data=samples, **wrong)


@pytest.mark.usefixtures("engines")
def test_the_command_prints_and_writes_the_report(bundle, samples, tmp_path, capsys):
    words = ["bench", str(bundle), "--data", str(samples), "--rounds", "2"]
    files = ["--json", str(tmp_path / "r.json"), "--markdown", str(tmp_path / "r.md")]
    assert main([*words, *files]) == 0
    out, err = capsys.readouterr()
    assert "On this machine ship float on" in " ".join(out.split())
    assert err.split("\n") == [
        "accuracy done",
        "latency done",
        "throughput done",
        "cold start done",
        "",
    ]
    assert json.loads((tmp_path / "r.json").read_text())["dataset"]["name"] == "test.npz"
    assert "| LiteRT | float | 100.00" in (tmp_path / "r.md").read_text()

    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("engines")
def test_a_file_that_cannot_be_written_does_not_cost_the_report(bundle, samples, tmp_path, capsys):
    words = ["bench", str(bundle), "--data", str(samples), "--rounds", "2", "--quiet"]
    # The longest name that a file may have; the one beside it is longer.
    assert main([*words, "--json", str(tmp_path / ("x" * 255))]) == 2
    out, err = capsys.readouterr()
    assert "On this machine ship" in out
    assert "cannot be written: File name too long" in err
    assert err.count("\n") == 1


@pytest.mark.usefixtures("engines")
def test_a_terminal_sees_progress_in_place(bundle, samples, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["bench", str(bundle), "--data", str(samples), "--rounds", "2"]) == 0
    assert "\rlatency  50 %\r" in capsys.readouterr().err


@pytest.mark.usefixtures("engines")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.tin"], "none.tin: no such bundle"),
        (["{bundle}"], "trained on nosuchset"),
        (["{bundle}", "--dataset", "another"], "unknown dataset `another`"),
        (["{bundle}", "--data", "none.npz"], "none.npz: there is no such file"),
        (["{bundle}", "--data", "{bundle}"], "expected arrays x_test and y_test"),
        (["{bundle}", "--data", "{samples}", "--rounds", "0"], "at least 2 rounds"),
        (["{bundle}", "--data", "{samples}", "--json", "none/r.json"], "there is no folder none"),
        (["{bundle}", "--data", "{samples}", "--markdown", "{folder}"], "got a folder"),
    ],
)
def test_mistakes_are_one_line_and_status_2(bundle, samples, tmp_path, capsys, words, message):
    names = {"bundle": bundle, "samples": samples, "folder": tmp_path}
    assert main(["bench", *(word.format(**names) for word in words)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


def test_a_damaged_bundle_is_one_line_and_status_1(bundle, capsys):
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 1
    bundle.write_bytes(data)
    assert main(["bench", str(bundle)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_help_explains_every_option(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    options = (
        "dataset",
        "data",
        "data-dir",
        "json",
        "markdown",
        "threads",
        "rounds",
        "seed",
        "quiet",
    )
    for option in options:
        assert f"--{option}" in text


def test_the_package_shows_the_function_and_its_result():
    assert tinsmith_bench.__all__ == ["Report", "bench"]


def test_importing_the_benchmarks_loads_nothing_heavy():
    code = "import sys, tinsmith_bench.command; print(*sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"tensorflow", "keras", "tf_keras", "matplotlib", "sklearn", "onnx", "onnxruntime"}
    assert not heavy & set(child.stdout.split())
