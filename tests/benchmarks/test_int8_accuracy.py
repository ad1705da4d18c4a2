"""What `benchmarks/accuracy.py` counts, how it divides data, and the page that it writes."""

import math
import subprocess
import sys
import zipfile
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from accuracy import NOTE, TITLE
from measurements import COLUMNS, Answers, as_answers, measure, row
from pages import write
from routes import ROUTES, Cost
from subjects import Subject, check_arguments, check_routes, requests, shown, splits
from tinsmith_runtime import UsageError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
COST = Cost(12.34, 20.0, 1234.5, 98_765, False, "")
LABELS = np.arange(400) % 4


def logits_of(classes: NDArray[np.int64], height: float = 4.0) -> NDArray[np.float32]:
    return (np.eye(4, dtype=np.float32) * np.float32(height))[classes]


def changed(classes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The same classes, but for the first ones."""
    return np.where(np.arange(len(classes)) < count, (classes + 1) % 4, classes)


def test_answers_are_counted_against_float() -> None:
    """Float has 8 of 400 wrong, the other route 5 of these and 11 more."""
    float_classes = changed(LABELS, 8)
    classes = np.where((np.arange(400) >= 5) & (np.arange(400) < 8), LABELS, float_classes)
    classes[100:111] = (LABELS[100:111] + 1) % 4
    found = measure(
        {
            "float": as_answers(logits_of(float_classes), COST),
            "naive": as_answers(logits_of(classes), COST),
        },
        LABELS,
    )
    one = found["naive"]
    assert (found["float"].correct, one.correct, one.lost, one.won, one.same) == (
        392,
        384,
        11,
        3,
        386,
    )
    assert one.p == pytest.approx(0.0574, abs=1e-4)  # twice the tail of 3 in 14
    assert one.reasons == ()
    assert found["float"].logits_db == math.inf


def test_a_significant_loss_is_named() -> None:
    reference = as_answers(logits_of(LABELS), COST)
    bad = {"float": reference, "auto": as_answers(logits_of(changed(LABELS, 20)), COST)}
    for labels in (LABELS, None):
        assert measure(bad, labels)["auto"].reasons == ("a significant loss",)
    # 10 of 400 may be 2 % by chance; with labels, 10 lost and none won are not by chance.
    few = {**bad, "auto": as_answers(logits_of(changed(LABELS, 10)), COST)}
    assert measure(few, None)["auto"].reasons == ()
    assert measure(few, LABELS)["auto"].reasons == ("a significant loss",)


def test_ptq_is_compared_with_what_tensorflows_file_gives() -> None:
    logits = logits_of(LABELS)
    noise = np.random.default_rng(0).standard_normal(logits.shape, np.float32)
    reference = as_answers(logits, COST)
    little, much = (as_answers(logits + noise / np.float32(by), COST) for by in (50, 10))
    both = {"float": reference, "tflite-ptq-logits": little, "ptq": much}
    behind = measure(both, None)["ptq"]
    below = "SQNR 13.98 ± 0.00 dB below TensorFlow's"  # of 5 times the noise, of every input
    assert row("m", "i", "ptq", [behind]).endswith(f"| no: {below} |")
    ahead = measure({**both, "ptq": little, "tflite-ptq-logits": much}, None)["ptq"]
    assert row("m", "i", "ptq", [ahead]).endswith("| yes |")
    assert row("m", "i", "ptq", [ahead, behind, ahead]).endswith(
        "| yes; SQNR below TensorFlow's in 1 of 3 |"
    )
    assert row("m", "i", "ptq", [behind] * 2).endswith(
        f"| no: {below}; SQNR below TensorFlow's in 2 of 2 |"
    )
    # A file of probabilities is compared by these, and has no SQNR of logits.
    given = as_answers(little.probabilities, replace(COST, activated=True))
    found = measure({"float": reference, "tflite-ptq": given, "ptq": much}, None)
    assert found["tflite-ptq"].logits_db is None
    assert found["ptq"].ahead_db[0][0] < 0


def test_how_sure_an_sqnr_is_above_another() -> None:
    logits = logits_of(LABELS)
    rng = np.random.default_rng(0)

    def noisy(by: float) -> Answers:
        return as_answers(logits + rng.normal(0, by, logits.shape).astype(np.float32), COST)

    found = [
        measure({"float": as_answers(logits, COST), "tflite-ptq-logits": one, "ptq": other}, None)
        for one, other in ((noisy(0.1), noisy(0.1)) for _ in range(200))
    ]
    ahead = np.array([each["ptq"].ahead_db[0] for each in found])
    # 95 % of such intervals hold the truth, 0 dB; of 200 all but 2 to 20.
    assert 2 <= (abs(ahead[:, 0]) > ahead[:, 1]).sum() <= 20
    equal = as_answers(logits, COST)
    same = measure({"float": equal, "tflite-ptq-logits": equal, "ptq": equal}, None)
    assert same["ptq"].ahead_db == ((0.0, 0.0),)


def test_a_class_that_changes_more_often_is_named() -> None:
    float_like = logits_of(LABELS)
    found = measure(
        {
            "float": as_answers(float_like, COST),
            "tflite-ptq-logits": as_answers(logits_of(changed(LABELS, 1)), COST),
            "ptq": as_answers(logits_of(changed(LABELS, 9)), COST),
        },
        None,
    )
    assert "float's class significantly rarer than TensorFlow's" in found["ptq"].reasons


GOLDEN = """\
| mine | 2 x 200 + 400 | tflite-ptq | 95.50 (93.00) | +2.50 (+5.00) | 1.9e-06 | 97.50 (95.00) | - | 12.6 (9.8) | 20.0 | 1,234 | 99 | no: a significant loss |
| mine | 200 + 400 | float | 98.00 [96.10, 98.98] | - | - | - | - | - | 20.0 | 1,234 | 99 | - |
| mine | 200 + 400 | ptq | 98.00 [96.10, 98.98] | +0.00 | 1 | 100.00 [99.05, 100.00] | equal | equal | 20.0 | 1,234 | 99 | yes; took ptq |
| mine | 200 + 400 | naive | - | - | - | - | - | - | - | - | - | no: `a '/' b` |
"""  # noqa: E501


def test_the_page(tmp_path: Path) -> None:
    reference = as_answers(logits_of(changed(LABELS, 8)), COST)
    same = as_answers(logits_of(changed(LABELS, 8)), replace(COST, note="took ptq"))
    alone = measure({"float": reference, "ptq": same}, LABELS)
    turns = [
        measure(
            {
                "float": reference,
                "tflite-ptq": as_answers(
                    np.float32(0.8) * outputs + np.float32(0.05), replace(COST, activated=True)
                ),
            },
            LABELS,
        )["tflite-ptq"]
        for outputs in (
            reference.probabilities,
            as_answers(logits_of(changed(LABELS, 28)), COST).probabilities,
        )
    ]
    lines = [
        row("mine", "2 x 200 + 400", "tflite-ptq", turns),
        row("mine", "200 + 400", "naive", [], "a `|` b"),
        row("mine", "200 + 400", "ptq", [alone["ptq"]]),
        row("mine", "200 + 400", "float", [alone["float"]]),
    ]
    head = f"| {' | '.join(COLUMNS)} |\n| {' | '.join([':--'] * len(COLUMNS))} |\n"
    path = tmp_path / "accuracy.md"
    write(path, TITLE, head + "\n".join(lines), 3, tuple(ROUTES), NOTE)
    text = path.read_text()
    assert text.startswith(f"# {TITLE}\n\nMeasured by `benchmarks/")
    assert text.endswith(f"\n\n{NOTE}\n\n{head}{GOLDEN}")


def subject(count: int, train: int) -> Subject:
    return Subject("mine", Path("nowhere"), count, train, None)


def test_data_that_is_divided_stays_so() -> None:
    ((calibration, evaluation),) = splits(subject(100, 60), 40, 30, 1)
    assert len(set(calibration)) == 40
    assert max(calibration) < 60 <= min(evaluation)
    assert len(set(evaluation)) == 30
    ((again, _),) = splits(subject(100, 60), 40, 30, 1)
    assert again.tolist() == calibration.tolist()
    with pytest.raises(UsageError, match="mine: expected more than 60 inputs, got 60"):
        list(splits(subject(60, 0), 60, None, 1))


def test_each_input_is_judged_as_often() -> None:
    found = list(splits(subject(500, 0), 200, None, 5))
    assert [(len(one), len(other)) for one, other in found] == [(200, 300)] * 5
    assert all(not set(one) & set(other) for one, other in found)
    judged = np.concatenate([other for _, other in found])
    assert np.bincount(judged).tolist() == [3] * 500
    assert shown(found[0], 5) == "5 x 200 + 300"


def test_rotations_judge_the_same_test_data() -> None:
    found = list(splits(subject(500, 400), 40, 90, 5))
    assert all(max(one) < 400 <= min(other) for one, other in found)
    assert len({tuple(other) for _, other in found}) == 1
    assert len({index for one, _ in found for index in one}) == 5 * 40


def test_routes_and_models_that_nobody_knows() -> None:
    assert check_routes("ort-ptq,ptq") == ("float", "ptq", "ort-ptq")
    with pytest.raises(UsageError, match=r"--routes: expected float, ptq, .*; got mine"):
        check_routes("ptq,mine")
    with pytest.raises(UsageError, match="name ptq too"):
        check_routes("ort-ptq")
    fields = {"runs": Path("runs"), "budget": 60.0, "qat_steps": 8}
    for word in ("resnet", "resnet=a.h5,b.npz,0", "resnet=a.h5,b.npz,low,1"):
        with pytest.raises(UsageError, match=r"expected cnn, .* or NAME=FILE,DATA,LOW,HIGH"):
            list(requests(Namespace(models=[word], **fields)))
    with pytest.raises(UsageError, match="--calibration: expected 2 to 500, got 501"):
        check_arguments(Namespace(calibration=501, evaluation=None, **fields))
    ((name, request),) = requests(Namespace(models=["mine=a.h5,c.npz,-1,1"], **fields))
    assert (name, request.model, request.low, request.budget_s) == ("mine", "a.h5", -1.0, 60.0)


@pytest.mark.slow
def test_one_command_writes_the_page(tmp_path: Path) -> None:
    """A tiny network on photographs whose names begin with their class."""
    make = """
import sys, keras
keras.utils.set_random_seed(0)
layers = keras.layers
keras.Sequential([
    keras.Input((8, 8, 1)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(),
    layers.Dense(3, activation="softmax"),
]).save(sys.argv[1])
"""
    model, images = tmp_path / "tiny.keras", tmp_path / "images.zip"
    subprocess.run([sys.executable, "-c", make, str(model)], check=True, capture_output=True)
    from PIL import Image

    rng = np.random.default_rng(0)
    with zipfile.ZipFile(images, "w") as archive:
        for index in range(60):
            with archive.open(f"{index % 3:04}-{index}.png", "w") as stream:
                Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(stream, "PNG")
    page = tmp_path / "page.md"
    words = [sys.executable, str(BENCHMARKS / "accuracy.py"), f"tiny={model},{images},0,1"]
    done = subprocess.run(
        [*words, "--routes", "ptq", "--calibration", "20", "--write", str(page)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in page.read_text().splitlines() if "| 20 + 40 |" in line]
    assert [cells[2] for cells in rows] == ["float", "ptq"]
    assert float(rows[1][7]) > 15  # dB of the logits
    assert float(rows[1][10].replace(",", "")) > 100  # MB: TensorFlow alone takes more
    assert done.stdout.splitlines()[2:] == [" | ".join(cells) for cells in rows]
