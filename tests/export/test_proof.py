"""The gates at their edges, and the numbers they judge by."""

import io
import math

import numpy as np
import pytest

from tinsmith_export.errors import ConversionError, GateError
from tinsmith_export.metrics import drop_pp, mcnemar_p, parity
from tinsmith_export.verify.gates import hold_gates
from tinsmith_export.verify.golden import COUNT, choose_golden
from tinsmith_export.verify.stages import accuracy_by_stage
from tinsmith_report.statistics import cosine, sqnr_db, wilson
from tinsmith_runtime.bundle import Parity, Quality, Stage, TargetParity

STAGES = {"float": None, "QAT": None, "TFLite": "tflite", "ONNX": "onnx"}
SAME = Parity(100, 100, 0, 1.0)


def stages(*accuracies: float) -> list[Stage]:
    pairs = zip(STAGES.items(), accuracies, strict=True)
    return [Stage(*stage, 1000, a, None, None, None) for stage, a in pairs]


def unlabelled(*agreements: float) -> list[Stage]:
    pairs = zip(STAGES.items(), agreements, strict=True)
    return [Stage(*stage, 1000, None, a, None, None) for stage, a in pairs]


def quality(found: list[Stage], evaluation: Parity = SAME, random: Parity = SAME) -> Quality:
    return Quality(tuple(found), "tflite", (TargetParity("onnx", evaluation, random),), None)


@pytest.mark.parametrize("accuracies", [(0.75, 0.1, 0.5, 0.5), (0.75, 0.75, 0.9, 0.5)])
def test_a_loss_at_the_limit_passes(accuracies: tuple[float, ...]) -> None:
    hold_gates(quality(stages(*accuracies)), 25.0)  # 0.75 and 0.5 are exact in binary


@pytest.mark.parametrize(
    ("accuracies", "stage"),
    [((0.75, 0.75, 0.499, 0.75), "TFLite"), ((0.75, 0.75, 0.75, 0.499), "ONNX")],
)
def test_a_larger_loss_fails(accuracies: tuple[float, ...], stage: str) -> None:
    with pytest.raises(GateError, match=f"{stage} loses 25.10 points.*--max-drop-pp 25"):
        hold_gates(quality(stages(*accuracies)), 25.0)


def test_a_drop_that_a_decimal_limit_names_exactly_passes() -> None:
    # (0.995 - 0.99) * 100 is a little more than 0.5 in floats.
    hold_gates(quality(stages(0.995, 0.99, 0.99, 0.99)), 0.5)


def test_without_labels_another_answer_than_floats_is_a_loss() -> None:
    hold_gates(quality(unlabelled(1.0, 0.0, 0.995, 0.995)), 0.5)
    with pytest.raises(GateError, match=r"ONNX answers 0.60 % of the inputs otherwise than float"):
        hold_gates(quality(unlabelled(1.0, 1.0, 0.995, 0.994)), 0.5)


def test_values_have_no_accuracy_to_lose() -> None:
    values = [Stage(*stage, 10, None, None, 3.0, 0.5) for stage in STAGES.items()]
    same = Parity(100, 100, 0, None)
    hold_gates(quality(values, same, same), 0.0)


@pytest.mark.parametrize("place", [0, 1])
def test_engines_may_differ_by_one_lsb(place: int) -> None:
    parities = [SAME, SAME]
    parities[place] = Parity(100, 99, 1, 1.0)
    hold_gates(quality(stages(1, 1, 1, 1), *parities), 0.5)
    parities[place] = Parity(100, 99, 2, 1.0)
    with pytest.raises(GateError, match="2 LSB"):
        hold_gates(quality(stages(1, 1, 1, 1), *parities), 0.5)


def test_a_layer_kept_float_may_flip_a_code_that_grows_behind_it() -> None:
    grown = Parity(100, 99, 3, 1.0, "first", 1)
    hold_gates(quality(stages(1, 1, 1, 1), SAME, grown), 0.5, ["first"])
    for found, kept in ((grown, ["second"]), (Parity(100, 99, 3, 1.0, "first", 2), ["first"])):
        with pytest.raises(GateError, match="differ by 3 LSB, more than 1, from layer `first` on"):
            hold_gates(quality(stages(1, 1, 1, 1), SAME, found), 0.5, kept)


def test_parity_counts() -> None:
    one = np.array([[-128, 127], [5, 6], [0, 1], [3, 2]], np.int8)
    other = np.array([[127, -128], [5, 6], [1, 0], [3, 1]], np.int8)
    assert parity(one, other, classes=True) == Parity(8, 3, 255, 0.5)
    assert parity(other, one, classes=True) == Parity(8, 3, 255, 0.5)
    assert parity(one, one, classes=True) == Parity(8, 8, 0, 1.0)
    assert parity(one, one, classes=False) == Parity(8, 8, 0, None)


def test_a_drop_is_of_accuracy_or_of_agreement() -> None:
    one = np.array([[0, 1], [0, 1], [0, 1], [0, 1]])
    other = np.array([[0, 1], [1, 0], [1, 0], [0, 1]])
    assert drop_pp(one, other, None) == pytest.approx(50)
    assert drop_pp(one, other, np.array([1, 1, 0, 0])) == pytest.approx(0)
    assert drop_pp(one, other, np.array([1, 1, 1, 0])) == pytest.approx(50)


def test_stages_are_compared_with_float_and_with_labels() -> None:
    logits = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.4], [1.0, -1.0]], np.float32)
    labels = np.array([1, 0, 0, 0])
    other = np.float32(1.01) * logits
    other[0] = other[0, ::-1]
    found = accuracy_by_stage(
        logits, {"rewritten": logits, "ONNX": other}, {"ONNX": "onnx"}, ["none"], labels, True
    )
    assert found[:2] == (
        Stage("float", None, 4, 0.75, 1.0, None, 1.0),
        Stage("rewritten", None, 4, 0.75, 1.0, None, found[1].cosine),
    )
    assert found[1].cosine == pytest.approx(1.0)
    assert (found[2].target, found[2].accuracy, found[2].agreement) == ("onnx", 0.5, 0.75)
    without = accuracy_by_stage(logits, {"rewritten": logits}, {}, ["none"], None, False)[1]
    assert (without.accuracy, without.agreement) == (None, None)


def test_stages_are_compared_after_the_activation_that_was_taken_off() -> None:
    logits = np.array([[0.0, 0.0], [np.log(3.0), 0.0]], np.float32)
    probabilities = np.array([[0.5, 0.5], [0.75, 0.25]], np.float32)
    stages = {"rewritten": logits}
    stage = accuracy_by_stage(probabilities, stages, {}, ["softmax"], None, True)[1]
    assert stage.cosine == pytest.approx(1.0)


def test_measures_of_noise() -> None:
    signal = np.array([3.0, 4.0])
    assert sqnr_db(signal, signal) is None
    assert sqnr_db(signal, signal * 1.1) == pytest.approx(20.0)  # noise of a tenth
    assert cosine(signal, 2 * signal) == pytest.approx(1.0)
    assert cosine(signal, np.array([-4.0, 3.0])) == pytest.approx(0.0)
    assert cosine(signal, 0 * signal) is None


def test_an_interval_of_a_proportion() -> None:
    # Wilson's interval of 8 in 10, as statistics books print it.
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    low, high = wilson(10_000, 10_000)
    assert low == pytest.approx(0.99962, abs=1e-5)
    assert high == pytest.approx(1.0)


def test_mcnemar_counts_the_answers_that_changed() -> None:
    labels = np.zeros(20, np.int64)
    right, wrong = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    one = np.tile(right, (20, 1))
    assert mcnemar_p(one, one, labels) == 1.0
    other = one.copy()
    other[:6] = wrong
    assert mcnemar_p(one, other, labels) == pytest.approx(2 / 2**6)
    assert mcnemar_p(other, one, labels) == pytest.approx(2 / 2**6)
    one[19] = wrong  # lost 6, won 1
    tail = (math.comb(7, 0) + math.comb(7, 1)) / 2**7
    assert mcnemar_p(one, other, labels) == pytest.approx(2 * tail)


def test_golden_vectors_are_the_first_that_agree() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (50, 4, 4, 1), np.uint8)
    codes = rng.integers(-128, 128, (50, 3), np.int8)
    other = codes.copy()
    other[::5, 1] ^= 1
    logits = rng.normal(size=(50, 3)).astype(np.float32)
    data, count = choose_golden(pixels, codes, [other], logits)
    chosen = [i for i in range(50) if i % 5][:COUNT]
    assert count == len(chosen) == COUNT
    with np.load(io.BytesIO(data), allow_pickle=False) as golden:
        np.testing.assert_array_equal(golden["inputs"], pixels[chosen])
        np.testing.assert_array_equal(golden["outputs_int8"], codes[chosen])
        np.testing.assert_array_equal(golden["outputs_float"], logits[chosen])
    assert choose_golden(pixels[:7], codes[:7], [codes[:7]], logits[:7])[1] == 7
    assert choose_golden(pixels, codes, [codes, other[:9]], logits)[1] == 7
    with pytest.raises(ConversionError, match="no golden vectors"):
        choose_golden(pixels, codes, [~codes], logits)
