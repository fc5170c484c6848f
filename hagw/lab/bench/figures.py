"""Arithmetic of a bench: what runs come to, how fair streams are, whether a target is met. Pure."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from hagw.lab.bench.scenario import Target


@dataclass(frozen=True, slots=True)
class Summary:
    """What some runs came to."""

    runs: tuple[float, ...]
    median: float
    min: float
    max: float


def summary(runs: Sequence[float]) -> Summary | None:
    """Return median, smallest and largest of runs; None without any."""
    return Summary(tuple(runs), statistics.median(runs), min(runs), max(runs)) if runs else None


def jain(shares: Sequence[float]) -> float:
    """Return Jain's index of fairness: 1 if all have the same, 1/n if one has all. Of nothing it is 1."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def by_run(rows: Sequence[Sequence[float]], fold: Callable[[Iterable[float]], float]) -> list[float]:
    """Fold several rows run by run, such as the lines' rates to their sum; a run that a row lacks is left out."""
    return [fold(values) for values in zip(*rows, strict=False)]


def met(target: Target, measured: Summary, others: Mapping[str, float]) -> bool | None:
    """Say whether a target is met; None if what it is compared with was not measured."""
    value = getattr(measured, target.statistic)
    if target.of and target.of not in others:
        return None
    bound = target.bound * (others[target.of] if target.of else 1.0)
    return bool(value >= bound if target.relation == "at_least" else value <= bound)


def verdict(targets: Sequence[Target], measured: Summary | None, others: Mapping[str, float]) -> bool | None:
    """Say whether all targets are met; None if there are none, or if one cannot be judged and none is missed."""
    if not targets or measured is None:
        return None
    judged = [met(target, measured, others) for target in targets]
    if False in judged:
        return False
    return None if None in judged else True
