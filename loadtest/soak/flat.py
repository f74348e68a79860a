"""Whether a series grows."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

Series = list[tuple[float, float]]
# Pairs of all of these are enough for a slope.
POINTS = 120
POINTS_MIN = 8


@dataclass
class Trend:
    """Medians of the second and the last quarter, and Theil and Sen's slope from the second on."""

    early: float
    late: float
    per_hour: float
    growth: float
    allowed: float

    @property
    def is_flat(self) -> bool:
        return self.growth <= self.allowed


def trend(series: Series, absolute: float, relative: float) -> Trend | None:
    """Growth is what both measures agree on: a step at the end moves one, a wave the other. None: too little is
    known. What may be is the larger of the two bounds, the relative one of the early median."""
    if len(series) < POINTS_MIN:
        return None
    start, end = series[0][0], series[-1][0]
    quarter = (end - start) / 4
    second = [value for at, value in series if start + quarter <= at < start + 2 * quarter]
    last = [value for at, value in series if at >= start + 3 * quarter]
    if not second or not last:
        return None
    early, late = median(second), median(last)
    judged = [point for point in series if point[0] >= start + quarter]
    slope = theil_sen(judged)
    # Between the middles of the two quarters lie two quarters.
    growth = min(late - early, slope * 2 * quarter)
    return Trend(early, late, slope * 3600, growth, max(absolute, relative * early))


def theil_sen(series: Series) -> float:
    """The median of the slopes of all pairs."""
    step = max(1, len(series) // POINTS)
    thin = series[::step]
    slopes = [
        (b[1] - a[1]) / (b[0] - a[0]) for number, a in enumerate(thin) for b in thin[number + 1 :] if b[0] > a[0]
    ]
    return median(slopes) if slopes else 0.0
