"""The gates at their edges, and the numbers they judge by."""

import io
import math

import numpy as np
import pytest

from tinsmith_export.errors import ConversionError
from tinsmith_export.metrics import answers_changed, mcnemar_p, parity
from tinsmith_export.options import Options
from tinsmith_export.results import Verdict
from tinsmith_export.verdict import doubt_text, judge, judge_counts
from tinsmith_export.verify.gates import accuracy_failures, parity_failures
from tinsmith_export.verify.golden import COUNT, choose_golden
from tinsmith_export.verify.stages import accuracy_by_stage
from tinsmith_report.statistics import cosine, sqnr_db, wilson
from tinsmith_runtime.bundle import Parity, Quality, Stage, TargetParity

SAME = Parity(100, 100, 0, 1.0)
TITLES = {"tflite": "TFLite", "onnx": "ONNX"}


def quality(evaluation: Parity = SAME, random: Parity = SAME) -> Quality:
    stages = [Stage(title, target, 10, None, None, None, None) for target, title in TITLES.items()]
    return Quality(tuple(stages), "tflite", (TargetParity("onnx", evaluation, random),), None)


def verdict(lost: int, won: int, count: int, labels: bool = True, **limits: float) -> Verdict:
    return judge_counts(lost, won, count, labels, Options(**limits))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lost", "won", "count", "limit_pp", "outcome"),
    [
        (0, 0, 10_000, 0.5, "pass"),
        (0, 0, 764, 0.5, "undecided"),  # Wilson's upper end of 0 is 3.84 / (count + 3.84)
        (0, 0, 765, 0.5, "pass"),
        (1, 0, 120, 0.5, "undecided"),  # 0.83 points, and yet no proof
        (4, 0, 120, 0.5, "fail"),
        (30, 10, 1000, 0.5, "fail"),
        (10, 30, 1000, 0.5, "pass"),
        (50, 0, 10_000, 0.5, "undecided"),  # the limit itself
        (4, 0, 50, 0.0, "undecided"),  # 1 of 16 by chance
        (5, 0, 50, 0.0, "fail"),  # 1 of 32
        (50, 0, 50, 100.0, "pass"),
        (0, 1, 50, -100.0, "fail"),
        (0, 50, 50, -100.0, "undecided"),
    ],
)
def test_with_labels(lost: int, won: int, count: int, limit_pp: float, outcome: str) -> None:
    assert verdict(lost, won, count, max_drop_pp=limit_pp).outcome == outcome


@pytest.mark.parametrize(
    ("changed", "count", "limit_pp", "outcome"),
    [
        (0, 182, 2.0, "undecided"),
        (0, 183, 2.0, "pass"),  # 0.98 ** 183 is less than 1 in 40
        (5, 120, 2.0, "undecided"),
        (6, 120, 2.0, "fail"),
        (1, 50, 0.0, "fail"),
        (0, 50, 0.0, "undecided"),
        (50, 50, 100.0, "pass"),
    ],
)
def test_without_labels(changed: int, count: int, limit_pp: float, outcome: str) -> None:
    assert verdict(changed, 0, count, False, max_changed_pp=limit_pp).outcome == outcome


def test_a_doubt_says_how_many_inputs_would_decide() -> None:
    found = verdict(0, 0, 120, max_drop_pp=0.5)
    assert doubt_text(found, "TFLite") == (
        "120 inputs are too few for a verdict on --max-drop-pp 0.5 (TFLite): about 770 would do"
    )
    assert verdict(0, 0, 770, max_drop_pp=0.5).outcome == "pass"
    never = doubt_text(verdict(0, 0, 50, False, max_changed_pp=0), "ONNX")
    assert never.endswith("--max-changed-pp 0 (ONNX): no number of inputs would do")


def test_a_failure_says_how_much_of_how_many() -> None:
    found = dict.fromkeys(TITLES, verdict(261, 10, 1000, max_drop_pp=20.0))
    (failure,) = accuracy_failures(found, TITLES, strict=False)
    assert failure.startswith("TFLite and ONNX: 25.10 points lost (95 % interval up to 2")
    assert failure.endswith("; of 1,000 answers 261 lost, 10 won), more than --max-drop-pp 20")
    found["onnx"] = verdict(6, 0, 100, False, max_changed_pp=2.0)
    (_, other) = accuracy_failures(found, TITLES, strict=False)
    assert other.startswith("ONNX: 6.00 % of the answers changed (")
    assert other.endswith("; 6 of 100), more than --max-changed-pp 2")


def test_what_is_not_decided_fails_if_that_is_asked_for() -> None:
    found = {"onnx": verdict(1, 0, 120)}
    assert accuracy_failures(found, TITLES, strict=False) == []
    (failure,) = accuracy_failures(found, TITLES, strict=True)
    assert failure.startswith("--strict: 120 inputs are too few for a verdict on --max-drop-pp")
    assert accuracy_failures({"onnx": verdict(0, 0, 9000)}, TITLES, strict=True) == []


@pytest.mark.parametrize("place", [0, 1])
def test_engines_may_differ_by_one_lsb(place: int) -> None:
    parities = [SAME, SAME]
    parities[place] = Parity(100, 99, 1, 1.0)
    assert parity_failures(quality(*parities)) == []
    parities[place] = Parity(100, 99, 2, 1.0)
    assert parity_failures(quality(*parities)) == ["TFLite and ONNX differ by 2 LSB, more than 1"]


def test_a_layer_kept_float_may_flip_a_code_that_grows_behind_it() -> None:
    grown = Parity(100, 99, 3, 1.0, "first", 1)
    assert parity_failures(quality(SAME, grown), ["first"]) == []
    for found, kept in ((grown, ["second"]), (Parity(100, 99, 3, 1.0, "first", 2), ["first"])):
        (failure,) = parity_failures(quality(SAME, found), kept)
        assert failure.endswith("differ by 3 LSB, more than 1, from layer `first` on")


def test_parity_counts() -> None:
    one = np.array([[-128, 127], [5, 6], [0, 1], [3, 2]], np.int8)
    other = np.array([[127, -128], [5, 6], [1, 0], [3, 1]], np.int8)
    assert parity(one, other, classes=True) == Parity(8, 3, 255, 0.5)
    assert parity(other, one, classes=True) == Parity(8, 3, 255, 0.5)
    assert parity(one, one, classes=True) == Parity(8, 8, 0, 1.0)
    assert parity(one, one, classes=False) == Parity(8, 8, 0, None)


def test_answers_are_lost_and_won_or_have_changed() -> None:
    one = np.array([[0, 1], [0, 1], [0, 1], [0, 1]])
    other = np.array([[0, 1], [1, 0], [1, 0], [0, 1]])
    assert answers_changed(one, other, None) == (2, 0)
    assert answers_changed(one, other, np.array([1, 1, 0, 0])) == (1, 1)
    assert answers_changed(one, other, np.array([1, 1, 1, 0])) == (2, 0)
    found = judge(one, other, np.array([1, 1, 0, 0]), Options(max_drop_pp=1))
    assert (found.lost, found.won, found.count, found.loss_pp) == (1, 1, 4, 0)
    assert judge(one, other, None, Options(max_changed_pp=1)).loss_pp == 50


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
