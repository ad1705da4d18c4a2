"""`bench`: measures bundles on this machine and gives a report."""

from collections.abc import Sequence
from pathlib import Path

from tinsmith_bench.gates.verdict import judged
from tinsmith_bench.options import DEFAULT, Options
from tinsmith_bench.report_data import Report
from tinsmith_bench.samples import find_samples
from tinsmith_bench.session import measure_bundles, read_bundles
from tinsmith_bench.target import Target
from tinsmith_bench.test_set import Samples
from tinsmith_bench.timing.latency import Watch


def unwatched(what: str, done: int, total: int) -> None:
    """Watches nothing."""


def bench(
    paths: Sequence[Path],
    dataset: str | None = None,
    data: str | Path | None = None,
    data_dir: Path | None = None,
    *,
    samples: Samples | None = None,
    options: Options = DEFAULT,
    competitors: Sequence[Target] = (),
    watch: Watch = unwatched,
) -> Report:
    """Measures bundles on this machine, side by side.

    Args:
        paths: the bundles, at least one.
        dataset: the name of the dataset to test on; the one that the first bundle was trained on
            if neither this nor `data` is given.
        data: what to test on instead: a dataset's name, a folder `data/CLASS/*.png`, an `.npz` file
            with `x_test` and `y_test` (or `x` and `y`), an `.npy` file, or `module:function`.
        data_dir: where the files of `dataset` are.
        samples: a test set that has been found already, instead of all these.
        options: how to measure.
        competitors: other variants to measure beside those of the bundles.
        watch: is told how far the benchmark has come.

    Raises:
        UsageError: an argument is wrong, or the test set is missing or does not fit.
        TinsmithError: a bundle is damaged, or no engine for it is installed.
    """
    if samples is None:
        manifests = [bundle.manifest for bundle in read_bundles(paths)]
        samples = find_samples(manifests, dataset, data, data_dir)
    return judged(measure_bundles(paths, samples, options, competitors, watch))
