import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from narrow import some

from tinsmith_bench.stats.accuracy import error_ratio, judge, judge_values, sample_errors
from tinsmith_bench.stats.fidelity import MAX_FLIPS, MAX_SIDE, compare_outputs

SCORES = np.array(
    [[9, 1, 0], [5, 6, 0], [0, 3, 2], [0, 1, 7], [4, 4, 4]],
    np.float32,
)
LABELS = np.array([0, 0, 1, 2, 1])


def test_a_classifier_is_held_against_its_labels() -> None:
    reference = np.array([[9, 1, 0], [7, 6, 0], [3, 0, 2], [0, 1, 7], [0, 4, 0]], np.float32)
    found = judge(SCORES, LABELS, ("a", "b", "c"), 2, reference)
    assert found.correct == 3
    assert found.top1.value == 0.6
    # Of equal scores the first class comes first: sample 4 guesses a, then b.
    assert found.topk.value == 1.0
    assert found.wrong == (1, 4)
    assert [(c.label, c.samples, c.correct, c.correct_float) for c in found.classes] == [
        ("a", 2, 1, 2),
        ("b", 2, 1, 1),
        ("c", 1, 1, 1),
    ]
    assert set(found.confusion) == {(0, 0, 1), (0, 1, 1), (1, 1, 1), (1, 0, 1), (2, 2, 1)}
    assert judge(SCORES, LABELS, ("a", "b", "c"), 2, None).classes[0].correct_float is None


@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_top_1_is_accuracy_and_top_all_is_everything(classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (30, classes)).astype(np.float32)  # many ties
    labels = rng.integers(0, classes, 30)
    names = tuple(map(str, range(classes)))
    assert judge(scores, labels, names, 1, None).topk == judge(scores, labels, names, 1, None).top1
    assert judge(scores, labels, names, classes, None).topk.value == 1
    found = judge(scores, labels, names, 1, None)
    assert sum(count for *_, count in found.confusion) == 30
    assert found.correct + len(found.wrong) == 30


def test_values_are_held_against_their_targets() -> None:
    values = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    targets = np.array([[1.0, 2.0], [4.0, 6.0]], np.float32)
    found = judge_values(values, targets, np.random.default_rng(0))
    assert found.mae.value == 0.75
    assert found.rmse == pytest.approx(np.sqrt(5 / 4))
    assert found.mae.low == 0 < found.mae.high == 1.5
    np.testing.assert_allclose(sample_errors(values, targets), [0, 1.5])


def test_errors_are_compared_sample_by_sample() -> None:
    rng = np.random.default_rng(0)
    hard = rng.exponential(1, 500)
    ratio = error_ratio(1.02 * hard, hard, np.random.default_rng(0))
    # The samples' own difficulty cancels out, though it varies by far more than 2 %.
    assert (some(ratio).low, some(ratio).high) == pytest.approx((1.02, 1.02))
    assert error_ratio(np.zeros(5), hard[:5], np.random.default_rng(0)) is None


IMAGES = np.arange(4 * 200 * 120 * 3, dtype=np.uint32).astype(np.uint8).reshape(4, 200, 120, 3)


def test_outputs_are_compared_with_float() -> None:
    mine = np.array([[1, 0], [0, 1], [1, 0], [0.5, 0.5]], np.float32)
    its = np.array([[1, 0], [0, 1], [0, 1], [0.5, 0.5]], np.float32)
    found = compare_outputs(mine, its, "float-x", IMAGES, np.array([0, 1, 0, 0]), classes=True)
    assert found.baseline == "float-x"
    assert some(found.agreement).value == 0.75
    assert found.flipped == 1
    assert found.mae == 0.25
    assert found.sqnr_db == pytest.approx(10 * np.log10((3 + 0.5) / 2))
    assert found.cosine == pytest.approx(0.75)
    (flip,) = found.flips
    assert (flip.index, flip.label, flip.was, flip.now) == (2, 0, 1, 0)
    # 200 by 120 is more than a report should hold: every third pixel.
    assert flip.shape == (67, 40, 3)
    assert max(flip.shape) <= MAX_SIDE


def test_equal_outputs_have_no_noise_and_zeros_are_like_zeros() -> None:
    same = np.zeros((2, 3), np.float32)
    found = compare_outputs(same, same, "f", np.zeros((2, 5), np.float32), None, classes=False)
    assert (found.mae, found.sqnr_db, found.cosine) == (0, None, 1)
    assert (found.agreement, found.flipped, found.flips) == (None, 0, ())


def test_flips_of_features_have_no_picture_and_are_not_all_kept() -> None:
    mine, its = np.tile([1, 0], (50, 1)), np.tile([0, 1], (50, 1))
    features = np.zeros((50, 4), np.float32)
    found = compare_outputs(
        mine.astype(np.float32), its.astype(np.float32), "f", features, None, classes=True
    )
    assert found.flipped == 50
    assert len(found.flips) == MAX_FLIPS
    assert (found.flips[0].pixels, found.flips[0].shape, found.flips[0].label) == ("", (), None)
