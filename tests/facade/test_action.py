"""`action.yml`: its steps, run here by the same script with the same environment."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from narrow import array

from tinsmith_bench import read_report
from tinsmith_runtime import read_bundle

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests/data/tiny.tin"
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
QUICK = "--threads 1 --quick --rounds 2 --quiet"


@dataclass(frozen=True)
class Ran:
    """What a step left behind."""

    status: int
    said: str
    summary: str
    outputs: dict[str, str]


def run(step: dict[str, Any], folder: Path, **inputs: str) -> Ran:
    """Runs a step as GitHub does."""
    defaults = {name: entry["default"] for name, entry in ACTION["inputs"].items()}
    values = defaults | {name.replace("_", "-"): value for name, value in inputs.items()}
    given = {
        name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: values[found[1]], value)
        for name, value in step["env"].items()
    }
    files = {name: folder / name for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    for file in files.values():
        file.touch()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TINSMITH")},
        **{name: str(file) for name, file in files.items()},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GITHUB_ACTION_PATH": str(ROOT),
        "RUNNER_TEMP": str(folder),
        **given,
    }
    line = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    done = subprocess.run(
        line, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    outputs = dict(entry.split("=", 1) for entry in files["GITHUB_OUTPUT"].read_text().splitlines())
    summary = files["GITHUB_STEP_SUMMARY"].read_text()
    return Ran(done.returncode, done.stdout + done.stderr, summary, outputs)


@pytest.fixture
def data(tmp_path: Path) -> str:
    x = array(read_bundle(TINY).golden().inputs)
    np.savez(tmp_path / "my data.npz", x_test=x, y_test=np.arange(len(x)) % 3)
    return "my data.npz"


def test_the_inputs_are_described_and_used() -> None:
    script = (ROOT / "benchmarks/action.sh").read_text()
    used = [name for step in STEPS for name in step["env"].values()]
    assert sorted(used) == sorted(f"${{{{ inputs.{name} }}}}" for name in ACTION["inputs"])
    for name, entry in ACTION["inputs"].items():
        assert entry["description"], name
    for step in STEPS:
        assert "inputs" not in step["run"], "what stands in an input would be run"
        assert all(name in script for name in step["env"])
    assert os.access(ROOT / "benchmarks/action.sh", os.X_OK)


def test_the_documented_step_is_one() -> None:
    page = (ROOT / "docs/how-to/ci.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (step,) = yaml.safe_load(block)
    assert step["with"].keys() <= ACTION["inputs"].keys()


def test_the_tutorials_workflow_uses_what_is_there() -> None:
    page = (ROOT / "docs/tutorials/gate-in-ci.md").read_text()
    (block,) = re.findall(r"```yaml file=bundle.yml\n(.*?)```", page, re.DOTALL)
    steps = yaml.safe_load(block)["jobs"]["gate"]["steps"]
    (step,) = [step for step in steps if step["uses"] == "./tinsmith"]
    assert step["with"].keys() <= ACTION["inputs"].keys()
    used = re.findall(rf"steps\.{step['id']}\.outputs\.(\w+)", block)
    assert used
    assert set(used) <= ACTION["outputs"].keys()


def test_engines_that_nobody_knows(tmp_path: Path) -> None:
    ran = run(STEPS[0], tmp_path, engines="native tensorrt")
    assert ran.status == 2
    assert "::error::engines: expected native, litert or onnx, got tensorrt" in ran.said


@pytest.mark.parametrize(
    ("bundles", "expected"),
    [
        ("no such.tin", "no such.tin: no such bundle"),
        ("", "the following arguments are required: BUNDLE"),
        ("$(touch owned)", "$(touch owned): no such bundle"),
        ("--help", "--help: no such bundle"),
    ],
)
def test_what_cannot_be_measured(tmp_path: Path, bundles: str, expected: str) -> None:
    ran = run(STEPS[1], tmp_path, bundles=bundles)
    assert ran.status == 2
    assert expected in ran.said
    assert (ran.summary, ran.outputs) == ("", {})
    assert not (tmp_path / "owned").exists()


@pytest.mark.slow
def test_a_baseline_and_gates(tmp_path: Path, data: str) -> None:
    """One run gives the next its baseline; settings come from a file too."""
    (tmp_path / "two words.tin").write_bytes(TINY.read_bytes())
    first = run(STEPS[1], tmp_path, bundles="two words.tin\n", data=data, options=QUICK)
    assert first.status == 0, first.said
    report = read_report(Path(first.outputs["report"]))
    assert {bundle.name for bundle in report.bundles} == {"two words"}
    assert "| int8 on LiteRT |" in first.summary
    (tmp_path / "GITHUB_STEP_SUMMARY").unlink()
    (tmp_path / "mine.toml").write_text('[bench]\nbundles = ["two words.tin"]\n')
    second = run(
        STEPS[1],
        tmp_path,
        config="mine.toml",
        data=data,
        baseline=first.outputs["report"],
        fail_if="accuracy < -0.2pp\n\nsize_bytes > 10\n",
        options=QUICK,
    )
    assert second.status == 1, second.said
    fence = second.summary.split("~~~~~~~~")[1]
    assert fence.startswith("text\nWhat moved\n")
    assert "Failed: size_bytes > 10: int8-tflite: 3280" in fence
    assert "Failed: accuracy" not in fence
