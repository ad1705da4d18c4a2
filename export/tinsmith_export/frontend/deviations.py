"""Finds normalizations in a trace: by the mean and the deviation over any dimensions.

Keras spells them out in five to ten operators, each version in other ones. Each becomes one
operator here, `NORMALIZATION`, before anything is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.frontend.trace import Operator, Trace

NORMALIZATION = "Normalization"
"""What an operator is called that stands for all of one."""

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Linear:
    """`factor * tensor + offset`."""

    tensor: str
    factor: Values
    offset: Values


@dataclass(frozen=True, eq=False)
class _Deviation:
    """`factor / sqrt(variance + epsilon)` of a tensor, over some dimensions, the batch counted.

    Attributes:
        source: the tensor.
        axes: the dimensions.
        mean: what is subtracted before squaring; none where that is nothing.
        epsilon: above 0.
        factor: of any shape.
    """

    source: str
    axes: tuple[int, ...]
    mean: _Linear | None
    epsilon: float
    factor: Values


def find_normalizations(trace: Trace) -> Trace:
    """Makes one operator of all that spell a normalization."""
    finder = _Finder(trace)
    operators = [finder.normalization(operator) or operator for operator in trace.operators]
    needed, kept = set(trace.outputs), []
    for operator in reversed(operators):
        if needed.intersection((operator.output, *operator.others)):
            needed.update(operator.inputs)
            kept.append(operator)
    return replace(trace, operators=tuple(reversed(kept)))


class _Finder:
    """Looks back from an operator to what it computes."""

    def __init__(self, trace: Trace) -> None:
        self._constants, self._inputs = trace.constants, trace.inputs
        self._makers: Mapping[str, Operator] = {one.output: one for one in trace.operators}

    def normalization(self, last: Operator) -> Operator | None:
        """The operator that stands for a normalization which ends with this one."""
        found = self._sum(last) or self._product(last)
        if found is None:
            return None
        deviation, beta = found
        rank = len(last.shape)
        if 0 in deviation.axes or self._shape(deviation.source) != last.shape:
            return None
        settings = {
            "axes": tuple(axis - 1 for axis in deviation.axes),
            "centered": deviation.mean is not None,
            "epsilon": deviation.epsilon,
            "gamma": _of_rank(deviation.factor, rank),
            "beta": _of_rank(beta, rank),
        }
        return replace(
            last, kind=NORMALIZATION, inputs=(deviation.source,), settings=settings, others={}
        )

    def _sum(self, last: Operator) -> tuple[_Deviation, Values] | None:
        """`x * s + (beta - mean * s)`, where `s` is gamma over the deviation."""
        if last.kind not in ("AddV2", "Add", "Sub"):
            return None
        less = -1 if last.kind == "Sub" else 1
        for left, right in (last.inputs, last.inputs[::-1])[: 1 if less < 0 else 2]:
            scaled, shift = self._makers.get(left), self._linear(right)
            if scaled is None or scaled.kind != "Mul":
                continue
            product = self._makers.get(shift.tensor)
            if product is None or product.kind != "Mul":
                continue
            shared = set(scaled.inputs) & set(product.inputs)
            if len(shared) != 1:
                continue
            (scale,) = shared
            (x,), (shifted,) = (set(one.inputs) - shared or {""} for one in (scaled, product))
            deviation, mean = self._deviation(scale), self._linear(shifted)
            if deviation is None or deviation.source != x or deviation.mean is None:
                continue
            if deviation.mean.tensor != mean.tensor:
                continue
            sign = less * shift.factor * mean.factor / deviation.mean.factor
            if np.all(sign == -1) and not np.any(mean.offset):
                return deviation, less * shift.offset
        return None

    def _product(self, last: Operator) -> tuple[_Deviation, Values] | None:
        """`(x - mean) * s`, or `x * s` where nothing is subtracted before squaring either."""
        if last.kind not in ("Mul", "RealDiv"):
            return None
        pairs = [last.inputs] if last.kind == "RealDiv" else [last.inputs, last.inputs[::-1]]
        for left, right in pairs:
            inverse = last.kind == "RealDiv"
            deviation = self._deviation(right, inverse)
            if deviation is None:
                continue
            if deviation.mean is None and left == deviation.source:
                return deviation, np.zeros(())
            if deviation.mean is not None and self._is_centered(left, deviation):
                return deviation, np.zeros(())
        return None

    def _is_centered(self, name: str, deviation: _Deviation) -> bool:
        maker = self._makers.get(name)
        if maker is None or maker.kind != "Sub" or maker.inputs[0] != deviation.source:
            return False
        found, mean = self._linear(maker.inputs[1]), deviation.mean
        if mean is None or found.tensor != mean.tensor or np.any(found.offset):
            return False
        return np.array_equal(found.factor, mean.factor)

    def _deviation(self, name: str, inverse: bool = False) -> _Deviation | None:
        """What a tensor is, if it is a constant over a deviation; or a deviation, if `inverse`."""
        linear = self._linear(name)
        maker = self._makers.get(linear.tensor)
        if maker is None or np.any(linear.offset):
            return None
        factor, lowest = linear.factor, 0.0
        if maker.kind == "Minimum" and not inverse:  # of 1 / deviation: a limit near infinity
            limit = self._constants.get(maker.inputs[1])
            maker = self._makers.get(maker.inputs[0])
            if limit is None or np.size(limit) != 1 or maker is None:
                return None
            lowest = float(np.reshape(limit, ())) ** -2
        if maker.kind != ("Sqrt" if inverse else "Rsqrt"):
            return None
        factor = 1 / factor if inverse else factor
        return self._of_variance(maker.inputs[0], factor, lowest)

    def _of_variance(self, name: str, factor: Values, epsilon: float) -> _Deviation | None:
        """The same of what stands below the root."""
        maker = self._makers.get(name)
        if maker is not None and maker.kind == "Maximum":
            limit = self._constants.get(maker.inputs[1])
            if limit is None or np.size(limit) != 1:
                return None
            epsilon, name = float(np.reshape(limit, ())), maker.inputs[0]
        variance = self._linear(name)
        found = self._mean(variance)
        if found is None or np.size(variance.offset) != 1:
            return None
        squares, axes, times = found
        source, mean = self._squared(squares, axes)
        epsilon += float(np.reshape(variance.offset, ()))
        if source is None or not times > 0 or not epsilon > 0:
            return None
        return _Deviation(source, axes, mean, epsilon / times, factor * times**-0.5)

    def _squared(self, name: str, axes: tuple[int, ...]) -> tuple[str | None, _Linear | None]:
        """The tensor that is squared, and the mean that is subtracted from it before."""
        linear = self._linear(name)
        maker = self._makers.get(linear.tensor)
        if maker is None or not np.all(linear.factor == 1) or np.any(linear.offset):
            return None, None
        if maker.kind == "SquaredDifference":
            pair = maker.inputs
        elif maker.kind == "Square" or (maker.kind == "Mul" and len(set(maker.inputs)) == 1):
            inner = self._makers.get(maker.inputs[0])
            if inner is None or inner.kind != "Sub" or inner.inputs[1] not in self._makers:
                return maker.inputs[0], None
            pair = inner.inputs
        else:
            return None, None
        source, mean = pair
        subtracted = self._linear(mean)
        found = self._mean(subtracted)
        if found is None or not np.isclose(found[2], 1) or found[1] != axes:
            return (None if maker.kind == "SquaredDifference" else maker.inputs[0]), None
        return (source, subtracted) if self._plain(found[0]) == source else (None, None)

    def _plain(self, name: str) -> str:
        """A tensor without factors of 1."""
        linear = self._linear(name)
        alone = np.all(linear.factor == 1) and not np.any(linear.offset)
        return linear.tensor if alone else name

    def _mean(self, linear: _Linear) -> tuple[str, tuple[int, ...], float] | None:
        """Of what a tensor is the mean, over which dimensions, and how many times the mean."""
        maker = self._makers.get(linear.tensor)
        if maker is None or maker.kind not in ("Mean", "Sum") or not maker.settings["keep_dims"]:
            return None
        factors, over = np.unique(linear.factor), self._constants.get(maker.inputs[1])
        if factors.size != 1 or over is None:
            return None
        shape = self._shape(maker.inputs[0])
        axes = tuple(sorted(int(axis) % len(shape) for axis in np.ravel(over)))
        count = float(np.prod([shape[axis] for axis in axes])) if maker.kind == "Sum" else 1.0
        return maker.inputs[0], axes, float(factors[0]) * count

    def _linear(self, name: str) -> _Linear:
        """What a tensor is of the first one that is no more than a factor and an offset away."""
        factor, offset = np.ones(()), np.zeros(())
        while (maker := self._makers.get(name)) is not None:
            inputs = maker.inputs
            at = next((i for i, one in enumerate(inputs) if one in self._constants), None)
            if maker.kind == "Neg":
                name, factor = inputs[0], -factor
                continue
            if at is None or len(inputs) != 2:
                break
            values = np.asarray(self._constants[inputs[at]], np.float64)
            if maker.kind == "Mul":
                factor = factor * values
            elif maker.kind in ("RealDiv", "DivNoNan") and at == 1 and np.all(values):
                factor = factor / values
            elif maker.kind in ("AddV2", "Add") or (maker.kind == "Sub" and at == 1):
                offset = offset + factor * (-values if maker.kind == "Sub" else values)
            elif maker.kind == "Sub":
                factor, offset = -factor, offset + factor * values
            else:
                break
            name = inputs[1 - at]
        return _Linear(name, factor, offset)

    def _shape(self, name: str) -> tuple[int, ...]:
        maker = self._makers.get(name)
        return self._inputs.get(name, ()) if maker is None else maker.shape


def _of_rank(values: Values, rank: int) -> Values:
    """Constants with as many dimensions as a tensor but the batch; each image has the same."""
    return np.asarray(values.reshape((1,) * (rank - values.ndim) + values.shape)[0])
