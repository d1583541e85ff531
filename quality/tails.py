"""How far a figure may be from what is expected, learnt from how far it was.

Deviations come as multiples of what chance alone would make of them. The bound of a side is the greater of two: so many robust
standard deviations (the median of that side's deviations, which half of bad partitions cannot move), and what an exponential tail
that is fitted to the side's largest deviations reaches three times in 100,000 partitions (with a sensitivity of 4.5).

Sources: median absolute deviation and its 0.6745: F. R. Hampel, "The influence curve and its role in robust estimation" (1974).
Peaks over a threshold: J. Pickands, "Statistical inference using extreme order statistics" (1975); for alarms A. Siffer, P.-A.
Fouque, A. Termier, C. Largouet, "Anomaly detection in streams with extreme value theory" (KDD 2017), here with shape 0, and the
scale by the median of the excesses, so that one of them cannot move it. Student's t by its normal quantile: M. Abramowitz and
I. Stegun, "Handbook of Mathematical Functions" (1964), 26.7.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SPANS = (1, 4, 12, 24)
LONG_SPANS = (1, 4, 24, 72)
_MAD_OF_NORMAL = 0.6745
_RARE, _AT = 3e-5, 4.5  # of this sensitivity
_EXCESSES = 10
_TAIL = (0.04, 0.25)
_NEAR = 1.5  # robust standard deviations
EVIDENCE = 1.65  # of what is near: more than that one held partition says nothing of those after it
_KNOWN = 8  # deviations that the knowledge of chance alone is worth


@dataclass(frozen=True)
class Bounds:
    """How far below and above is still right; near_low, near_high: what is as expected. In the unit of the deviations."""

    low: float
    high: float
    near_low: float
    near_high: float


def bounds_of(deviations: Floats, span: int, sensitivity: float, stretch: float, guard: int) -> Bounds:
    """Bounds from the deviations of a history.

    Args:
        deviations: as multiples of what chance makes, in the order of time; those of spans of several partitions overlap.
        span: partitions of each.
        sensitivity: robust standard deviations.
        stretch: by how much a new deviation is larger than those of partitions that were learnt from.
        guard: of spans of several partitions the last so many do not count, so that what begins to go wrong does not excuse what
            follows it; at most half of them.
    """
    if span > 1:
        deviations = deviations[: len(deviations) - min(guard, len(deviations) // 2)]
    independent = max(len(deviations) / span, 2.0)
    low, scale_low = _side(-deviations[deviations <= 0] * stretch, independent, sensitivity)
    high, scale_high = _side(deviations[deviations >= 0] * stretch, independent, sensitivity)
    return Bounds(low, high, _NEAR * scale_low, _NEAR * scale_high)


def _side(sizes: Floats, independent: float, sensitivity: float) -> tuple[float, float]:
    """The bound of one side, and its scale, which is at least what chance alone makes. independent: deviations of both sides."""
    if not len(sizes):
        return student(sensitivity, independent + _KNOWN), 1.0
    sizes = np.sort(sizes)
    scale = max(1.0, float(_quantile(sizes, 0.5)) / _MAD_OF_NORMAL)
    tail = min(max(2 * _EXCESSES / independent, _TAIL[0]), _TAIL[1])
    edge = float(_quantile(sizes, 1 - tail))
    excesses = sizes[sizes > edge] - edge
    rarer = (sensitivity**2 - _AT**2) / 2  # as the logarithm of the tail of a normal changes
    bound = scale * student(sensitivity, independent + _KNOWN)
    if len(excesses):
        bound = max(bound, edge + float(np.median(excesses)) / math.log(2) * max(math.log(tail / 2 / _RARE) + rarer, 0.0))
    return bound, scale


def _quantile(ordered: Floats, share: float) -> float:
    """A quantile of sorted values, between neighbours where it lies there."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (ordered[above] - ordered[below]) * (place - below))


def student(normal: float, freedom: float) -> float:
    """The quantile of Student's t that is as rare as this one of a normal: few observations tell less of how usual is usual."""
    freedom = max(freedom, 3.0)
    first = (normal**3 + normal) / 4
    second = (5 * normal**5 + 16 * normal**3 + 3 * normal) / 96
    third = (3 * normal**7 + 19 * normal**5 + 17 * normal**3 - 15 * normal) / 384
    return normal + first / freedom + second / freedom**2 + third / freedom**3


def sums_of(values: Floats, span: int) -> Floats:
    """Sums of each run of ``span`` values that follow each other."""
    if span == 1:
        return values
    if len(values) < span:
        return values[:0]
    sums = np.cumsum(np.concatenate(((0.0,), values)))
    ends: Floats = sums[span:] - sums[:-span]
    return ends


def midmeans(values: Floats, groups: npt.NDArray[np.int64], count: int) -> Floats:
    """Of each group the mean of the middle half of its values; NaN for groups without any.

    A quarter of a group may be anything on either side. Source: J. Tukey, "Exploratory Data Analysis" (1977).
    """
    order = np.lexsort((values, groups))
    ordered, of_group = values[order], groups[order]
    sizes = np.bincount(groups, minlength=count).astype(np.float64)
    starts = np.concatenate(((0.0,), np.cumsum(sizes)[:-1]))
    rank = np.arange(len(values)) - starts[of_group]
    size = sizes[of_group]
    weights = np.clip(np.minimum(rank + 1, 0.75 * size) - np.maximum(rank, 0.25 * size), 0.0, None)
    summed = np.bincount(of_group, weights * ordered, minlength=count)
    with np.errstate(invalid="ignore"):
        return summed / np.where(sizes > 0, sizes / 2, np.nan)
