"""What is done with a network, cheap before dear: each stage is a function, its result is kept.

Importing this module imports neither Keras nor TensorFlow; its functions do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tinsmith_bench.stats.significance import wilson_estimate
from tinsmith_data import Dataset
from tinsmith_export.inputs.samples import Samples
from tinsmith_export.options import Options
from tinsmith_export.results import Checked, Exported
from tinsmith_search.cache import Cache, Entry
from tinsmith_train.holding import hold_back

TARGETS = ("tflite", "native")
"""What bundles hold. `size_bytes` is the size of the int8 file of the first, `arena_bytes` the
memory of the plan of the second."""
MODEL = "model.keras"
BUNDLE = "model.tin"

Interval = tuple[float, float]


@dataclass(frozen=True)
class Judged:
    """Training images, divided once for the whole search.

    Attributes:
        dataset: all training images, and as its test images those that are held back: the test set
            is out of sight.
        samples: the others to calibrate on, those held back to evaluate on.
        part: how much is held back.
        seed: of the division, and of everything random in a trial.
    """

    dataset: Dataset
    samples: Samples
    part: float
    seed: int


@dataclass(frozen=True)
class Found:
    """What a stage tells of a trial.

    Attributes:
        values: by the metric's name.
        intervals: the 95 % intervals of those that have one.
        refused: why the trial ends here; or `None`.
    """

    values: Mapping[str, float]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    refused: str | None = None


def divide(dataset: Dataset, part: float, seed: int) -> Judged:
    """Holds a part of each class of the training images back, by which trials are judged."""
    held, kept = hold_back(dataset.y_train, part, seed, stratified=True)
    x, y, labels = dataset.x_train, dataset.y_train, dataset.labels
    seen = Dataset(dataset.name, x, y, x[held], y[held], labels)
    samples = Samples(dataset.name, seen.sha256, x[kept], y[kept], x[held], y[held], labels)
    return Judged(seen, samples, part, seed)


def check(cache: Cache, net: Any) -> Entry:
    """Keeps a network that is not trained, and what an export would make of it."""

    def make(folder: Path) -> Mapping[str, Any]:
        from tinsmith_export import check

        net.save(folder / MODEL)
        checked = check(folder / MODEL, Options(targets=TARGETS))
        return {"refused": _refused(checked), "values": _estimates(checked)}

    return cache.get("check", {"layers": net.to_json()}, make)


def checked(entry: Entry) -> Found:
    """What the check tells."""
    return Found(entry.facts["values"], refused=entry.facts["refused"])


def _refused(checked: Checked) -> str | None:
    reasons = [
        *checked.refused,
        *(f"{one.name}: {one.refused}" for one in checked.targets if one.refused),
    ]
    floats = [layer.layer for layer in checked.layers if TARGETS[0] in layer.in_float]
    if floats:
        reasons.append(f"computed in float: {', '.join(floats)}")
    return "; ".join(reasons) or None


def _estimates(checked: Checked) -> dict[str, float]:
    targets = {one.name: one for one in checked.targets}
    size = targets[TARGETS[0]].int8_bytes if TARGETS[0] in targets else None
    arena = targets[TARGETS[1]].arena_bytes if TARGETS[1] in targets else None
    known = {"size_bytes": size, "arena_bytes": arena}
    counted = {"macs": checked.macs, "parameters": checked.model_parameters}
    return {name: float(one) for name, one in (counted | known).items() if one is not None}


def train(
    cache: Cache, judged: Judged, network: Entry, epochs: int, settings: Mapping[str, Any]
) -> Entry:
    """Trains a network from fresh weights; Ctrl-C ends it."""

    def make(folder: Path) -> Mapping[str, Any]:
        from tinsmith_train import StoppedError, train

        try:
            found = train(
                str(network.folder / MODEL),
                judged.dataset,
                folder,
                epochs=epochs,
                seed=judged.seed,
                held_back=judged.part,
                draw=False,
                **settings,
            )
        except StoppedError as error:
            raise KeyboardInterrupt from error
        if found.stopped:  # what it has learned so far is not what was asked for
            raise KeyboardInterrupt
        return {
            "correct": found.test_correct,
            "count": found.test_images,
            "best": found.best.number,
        }

    what = {"network": network.key, "epochs": epochs, "settings": dict(settings), **_data(judged)}
    return cache.get("train", what, make)


def trained(entry: Entry) -> Found:
    """What a training tells: the accuracy of the float network."""
    return _accuracy(entry.facts["correct"], entry.facts["count"])


def export(cache: Cache, judged: Judged, network: Entry, settings: Mapping[str, Any]) -> Entry:
    """Compiles a trained network, and evaluates it on the images held back."""

    def make(folder: Path) -> Mapping[str, Any]:
        return compiled(network, judged.samples, folder / BUNDLE, settings, judged.seed)

    what = {"network": network.key, "settings": dict(settings), "targets": TARGETS, **_data(judged)}
    return cache.get("export", what, make)


def exported(entry: Entry) -> Found:
    """What an export tells: int8 accuracy, the sizes of the files, and whether a gate failed."""
    facts = entry.facts
    found = _accuracy(facts["correct"], facts["count"])
    return replace(found, values={**found.values, **facts["values"]}, refused=facts["failures"])


def compiled(
    network: Entry, samples: Any, bundle: Path, settings: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """Compiles a trained network, and keeps the bundle even if it fails a gate.

    Args:
        network: trained.
        samples: as `tinsmith_export.export` takes them.
        bundle: the file to write.
        settings: fields of `Options`.
        seed: of everything random.

    Returns:
        The facts of an entry: what `exported` reads.
    """
    from tinsmith_export import GateError, export

    rejected = bundle.with_name("rejected.tin")
    options = Options(seed=seed, targets=TARGETS, keep_rejected=rejected, **settings)
    try:
        return _facts(export(network.folder / MODEL, samples, bundle, options))
    except GateError as error:
        if rejected.exists():
            rejected.rename(bundle)
        return _facts(error.exported)


def _facts(exported: Exported) -> dict[str, Any]:
    manifest = exported.manifest
    stage = next(one for one in manifest.quality.stages if one.target == TARGETS[0])
    files = {(one.format, one.precision): one for one in manifest.variants}
    plan = files.get((TARGETS[1], "int8"))
    values = {"size_bytes": float(files[TARGETS[0], "int8"].size_bytes)}
    if plan is not None and plan.arena_bytes is not None:
        values["arena_bytes"] = float(plan.arena_bytes)
    if stage.agreement is not None:
        values["agreement"] = stage.agreement
    return {
        "values": values,
        "correct": round((stage.accuracy or 0.0) * stage.count),
        "count": stage.count,
        "failures": "; ".join(exported.failures) or None,
    }


def _accuracy(correct: int, count: int) -> Found:
    found = wilson_estimate(correct, count)
    return Found({"accuracy": found.value}, {"accuracy": (found.low, found.high)})


def _data(judged: Judged) -> dict[str, Any]:
    return {"data": judged.dataset.sha256, "part": judged.part, "seed": judged.seed}
