"""Names that would steer a terminal or a page: layers of a model may be called anything."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tinsmith_export.options import Options
from tinsmith_export.report import html
from tinsmith_export.results import Attempt, Checkpoint, Exported, Sensitivity, Witness
from tinsmith_export.summary import sensitivity_table, summary
from tinsmith_export.terminal import TerminalProgress
from tinsmith_export.verdict import judge_counts
from tinsmith_runtime import read_bundle

TINY = Path(__file__).parents[1] / "data" / "tiny.tin"
NAMES = (
    "\x1b[2J\r\nx\u202e",
    "</style><script>alert(1)</script>",
    '--><img src=x onerror="alert(1)">',
    "[red]:warning:[/]",
    "a$\\frac{$b$",
)


@pytest.fixture
def exported() -> Exported:
    manifest = read_bundle(TINY).manifest
    layers = tuple(replace(manifest.layers[0], name=name, weight_bits=32) for name in NAMES)
    training = replace(manifest.training, model=NAMES[1], dataset=NAMES[0])
    (target,) = manifest.quality.parity
    parity = replace(target.evaluation, equal=0, enters_at=NAMES[1], enters_lsb=1)
    verdict = judge_counts(0, 0, 10, True, Options())
    return Exported(
        bundle=Path(NAMES[0]),
        verdicts={"onnx": verdict},
        float_choice=verdict,
        failures=(NAMES[0], NAMES[1]),
        manifest=replace(
            manifest,
            layers=layers,
            training=training,
            quality=replace(manifest.quality, parity=(replace(target, evaluation=parity),)),
        ),
        attempts=(Attempt(NAMES[0], True, verdict, 20.0, 1.0),),
        checkpoints=(Checkpoint(0, 1, 0),),
        kernels={"onnx": {NAMES[1]: 1}},
        cpu_notes={"onnx": NAMES[1]},
        sensitivities=tuple(
            Sensitivity(
                layer=name,
                kind="Conv2D",
                weight_bits=8,
                weight_range=(-1, 1),
                output_range=(0, 1),
                clipped=0,
                sqnr_db=20,
                alone_drop_pp=1,
                alone_sqnr_db=20,
            )
            for name in NAMES
        ),
        witness=Witness(1, {NAMES[1]: 0.0}, 1.0),
        warnings=(NAMES[0],),
        peak_memory_mb=1,
    )


def test_a_summary_and_a_table(exported: Exported) -> None:
    lines = [*summary(exported), *sensitivity_table(exported.sensitivities)]
    assert all(line.isprintable() for line in lines)
    assert any(r"\x1b[2J" in line for line in lines)


def test_a_page(exported: Exported) -> None:
    page = html(exported)
    tags = set(re.findall(r"<([a-zA-Z]+)", page))
    assert not tags & {"script", "img"}
    assert page.count("</style>") == page.count("<style")
    assert all(line.isprintable() for line in page.split("\n"))
    assert r"a$\frac{$b$" in page


def test_what_a_terminal_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    progress = TerminalProgress()
    for name in NAMES:
        progress.stage(name)
        progress.warn(name)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 * len(NAMES)
    assert all(line.isprintable() for line in lines)
    assert "[red]:warning:[/]" in lines


def test_the_step_that_fine_tuning_kept_is_said(exported: Exported) -> None:
    steps = (Checkpoint(0, 1, 0.5), Checkpoint(50, 0.9, 0.125), Checkpoint(100, 1, 0.25))
    tuned = replace(exported, checkpoints=steps)
    line = "kept step 50 of 100: mean squared error to float, held back, 0.125; before 0.5"
    assert f"tuned    {line}" in summary(tuned)
    assert "step 50 of 100 was nearest to float on inputs held back." in html(tuned)


def test_what_ranks_layers_is_said(exported: Exported) -> None:
    """Answers that change, and the error of the output where none does, or where it is the same."""
    (row, *_) = exported.sensitivities
    costs = {"a": (0.0, 30.0), "b": (0.4, 20.0), "c": (0.4, 10.0), "d": (0.0, None)}
    rows = [
        replace(row, layer=name, alone_drop_pp=lost, alone_sqnr_db=db)
        for name, (lost, db) in costs.items()
    ]
    assert sensitivity_table(rows)[6:8] == [
        "costs most alone: c, b, a",
        "ranked by lost pp, then alone dB",
    ]
    page = html(replace(exported, sensitivities=tuple(rows)))
    assert "c, b, a; ranked by lost pp, then alone dB." in page
    none_lost = [replace(row, alone_drop_pp=0.0) for row in rows]
    assert sensitivity_table(none_lost)[6:8] == [
        "costs most alone: c, b, a",
        "ranked by alone dB: no answer changed",
    ]
    values = [replace(row, alone_drop_pp=None) for row in rows]
    assert sensitivity_table(values)[6:8] == ["costs most alone: c, b, a", "ranked by alone dB"]
