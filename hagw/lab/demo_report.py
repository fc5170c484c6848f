"""What the demo measured, judged and put into words. Values in, values out.

The terms are the outside contract's: a single line is plain TCP over it alone with hagw off, the sum is these added
up, a line counts as used if it carried 80 % of what it carries alone, or the no-harm guard withheld it and says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from hagw.lab.link import tcp_payload_share

Direction = Literal["down", "up"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("down", "up")

PERCENT_MIN: Final = 90.0
PERCENT_OF_SUBSET_MIN: Final = 95.0  # where lines are withheld: of what the other lines carry
USED_SHARE_MIN: Final = 0.8
GAP_MAX_MS: Final = 500.0
REJOIN_MAX_MS: Final = 3_000.0
DURATION_MAX_S: Final = 120.0
# An interface also counts headers, repeated segments and other traffic, but not much.
_PAYLOAD_PER_INTERFACE_BYTE: Final = (0.8, 1.0)
_WORDS: Final = {"down": "download", "up": "upload"}


@dataclass(frozen=True, slots=True)
class FileMoved:
    """One file that curl moved: `expected` and `seen` are SHA-256 in hex, `trouble` is curl's, "" = none."""

    name: str
    direction: Direction
    size_bytes: int
    expected: str
    seen: str
    trouble: str = ""

    @property
    def intact(self) -> bool:
        """Say whether the whole file arrived as it was sent."""
        return not self.trouble and self.seen == self.expected


@dataclass(frozen=True, slots=True)
class Line:
    """An access line: its rates (IP bytes, None = not limited) and plain TCP's payload rates over it alone."""

    name: str
    rate_bps: Mapping[Direction, float | None]
    alone_bps: Mapping[Direction, float]


@dataclass(frozen=True, slots=True)
class Bonded:
    """One transfer with hagw on. `by_uplink` is the flow's payload, `by_interface` the links' IP bytes meanwhile."""

    direction: Direction
    rate_bps: float
    path: str
    by_uplink: Mapping[str, int]
    by_interface: Mapping[str, int]
    withheld: Mapping[str, str]

    def carried_bps(self, line: str) -> float:
        """Return the part of the steady rate that a line carried."""
        total = sum(self.by_uplink.values())
        return self.rate_bps * self.by_uplink.get(line, 0) / total if total else 0.0


@dataclass(frozen=True, slots=True)
class Outage:
    """A download with a silent blackhole of one line. Times at the receiver and at the line; None = it never came."""

    line: str
    gap_ms: float
    rejoin_ms: float | None


@dataclass(frozen=True, slots=True)
class Results:
    """All that one run found. What could not be measured is absent, and `failures` says why."""

    preset: str
    lines: Sequence[Line]
    bonded: Mapping[Direction, Bonded]
    outage: Outage | None
    files: Sequence[FileMoved]
    duration_s: float
    failures: Sequence[str] = ()

    def alone_bps(self, direction: Direction) -> dict[str, float]:
        """Return the lines' rates alone."""
        return {line.name: line.alone_bps[direction] for line in self.lines}

    def single_bps(self, direction: Direction) -> float | None:
        """Return the rate of the best line alone."""
        return max(self.alone_bps(direction).values(), default=None)

    def sum_bps(self, direction: Direction) -> float | None:
        """Return the rates alone, added up."""
        return sum(self.alone_bps(direction).values()) if self.lines else None

    def subset_bps(self, direction: Direction) -> float | None:
        """Return the sum without the lines the no-harm guard withheld."""
        bonded = self.bonded.get(direction)
        withheld = bonded.withheld if bonded else {}
        kept = [rate for name, rate in self.alone_bps(direction).items() if name not in withheld]
        return sum(kept) if kept else None

    def limit_bps(self, direction: Direction) -> float | None:
        """Return what bonding can carry at best: the rates times payload per IP byte of full MPTCP segments."""
        rates = [line.rate_bps[direction] for line in self.lines]
        known = [rate for rate in rates if rate is not None]
        return sum(known) * tcp_payload_share(mptcp=True) if known and len(known) == len(rates) else None

    def percent(self, direction: Direction) -> float | None:
        """Return the bonded rate in percent of the sum."""
        return self._percent_of(direction, self.sum_bps(direction))

    def subset_percent(self, direction: Direction) -> float | None:
        """Return the bonded rate in percent of the sum without the withheld lines."""
        return self._percent_of(direction, self.subset_bps(direction))

    @property
    def intact(self) -> bool | None:
        """Say whether every file arrived as it was sent; None if none was moved."""
        return all(file.intact for file in self.files) if self.files else None

    def _percent_of(self, direction: Direction, whole_bps: float | None) -> float | None:
        bonded = self.bonded.get(direction)
        return 100 * bonded.rate_bps / whole_bps if bonded is not None and whole_bps else None


def reasons(results: Results) -> list[str]:
    """Return what keeps the run from being a success, one sentence each with how much is missing; empty = success."""
    found = list(results.failures)
    found += _file_reasons(results.files)
    for direction in DIRECTIONS:
        bonded = results.bonded.get(direction)
        if bonded is None:
            found.append(f"the bonded {_WORDS[direction]} was not measured")
        else:
            found += _bond_reasons(results, bonded)
    found += _outage_reasons(results.outage)
    if results.duration_s > DURATION_MAX_S:
        found.append(f"the demo took {results.duration_s:.0f} s, more than {DURATION_MAX_S:.0f}")
    return found


def document(results: Results) -> dict[str, Any]:
    """Return the contract's `demo --json` document; what is unknown is null."""
    bad = reasons(results)
    single = {f"{direction}_bps": _whole(results.single_bps(direction)) for direction in DIRECTIONS}
    return {
        "schema": 1,
        "ok": not bad,
        "reasons": bad,
        "preset": results.preset,
        "lines": {line.name: _line_document(results, line) for line in results.lines},
        "single": single,
        "bonded": {f"{way}_bps": _whole(b.rate_bps if (b := results.bonded.get(way)) else None) for way in DIRECTIONS},
        **_by_direction("sum_{}_bps", results.sum_bps),
        **_by_direction("limit_{}_bps", results.limit_bps),
        **{f"percent_{way}": _tenths(results.percent(way)) for way in DIRECTIONS},
        **_by_direction("subset_{}_bps", results.subset_bps),
        **{f"percent_of_subset_{way}": _tenths(results.subset_percent(way)) for way in DIRECTIONS},
        "withheld": {way: dict(bonded.withheld) for way, bonded in results.bonded.items()},
        "bytes_by_uplink": _bytes_by_line(results, lambda bonded: bonded.by_uplink),
        "bytes_by_interface": _bytes_by_line(results, lambda bonded: bonded.by_interface),
        "gap_ms": _whole(results.outage.gap_ms if results.outage else None),
        "rejoin_ms": _whole(results.outage.rejoin_ms if results.outage else None),
        "sha256_equal": results.intact,
        "files": [_file_document(file) for file in results.files],
        "duration_s": round(results.duration_s, 1),
    }


def text(results: Results) -> str:
    """Return the report a person reads."""
    rows = [("", "download", "upload"), *_rate_rows(results)]
    table = [f"  {name:18}{down:>24}{up:>24}".rstrip() for name, down, up in rows]
    bad = reasons(results)
    verdict = ["Everything as it should be."] if not bad else ["FAILED:", *(f"  - {reason}" for reason in bad)]
    return "\n".join([*table, "", *_sentences(results), "", *verdict])


def _file_reasons(files: Sequence[FileMoved]) -> Iterator[str]:
    for file in files:
        if file.trouble:
            yield f"{_WORDS[file.direction]} of {file.name} failed: {file.trouble}"
        elif not file.intact:
            yield f"{_WORDS[file.direction]} of {file.name}: SHA-256 {file.seen} arrived, {file.expected} was sent"


def _bond_reasons(results: Results, bonded: Bonded) -> Iterator[str]:
    word = _WORDS[bonded.direction]
    if bonded.path != "converted":
        yield f"the {word} was not converted to Multipath TCP: its path was {bonded.path or 'not to be found'}"
        return
    percent, subset = results.percent(bonded.direction), results.subset_percent(bonded.direction)
    if percent is not None and percent < PERCENT_MIN:
        yield f"the bonded {word} reached {percent:.1f} % of the sum, {PERCENT_MIN - percent:.1f} less than 90"
    if bonded.withheld and subset is not None and subset < PERCENT_OF_SUBSET_MIN:
        short = PERCENT_OF_SUBSET_MIN - subset
        yield f"the bonded {word} reached {subset:.1f} % of the lines not withheld, {short:.1f} less than 95"
    for line, alone_bps in results.alone_bps(bonded.direction).items():
        share = bonded.carried_bps(line) / alone_bps if alone_bps else 0.0
        if line not in bonded.withheld and share < USED_SHARE_MIN:
            yield f"{line} carried {100 * share:.0f} % of what it carries alone in the {word}, less than 80"
    yield from _contradictions(bonded)


def _contradictions(bonded: Bonded) -> Iterator[str]:
    """What hagw says a line carried must fit what the line's interface counted."""
    least, most = _PAYLOAD_PER_INTERFACE_BYTE
    for line, payload in bonded.by_uplink.items():
        counted = bonded.by_interface.get(line, 0)
        if line not in bonded.withheld and not least * counted <= payload <= most * counted:
            word = _WORDS[bonded.direction]
            yield f"{line} carried {payload} bytes of the {word} as hagw says, but its interface counted {counted}"


def _outage_reasons(outage: Outage | None) -> Iterator[str]:
    if outage is None:
        yield "the blackhole was not tried"
        return
    if outage.gap_ms >= GAP_MAX_MS:
        over = outage.gap_ms - GAP_MAX_MS
        yield f"the blackhole of {outage.line} silenced the download for {outage.gap_ms:.0f} ms, {over:.0f} over 500"
    if outage.rejoin_ms is None:
        yield f"{outage.line} carried no data again after it healed"
    elif outage.rejoin_ms > REJOIN_MAX_MS:
        yield f"{outage.line} carried data again only {outage.rejoin_ms:.0f} ms after it healed, not within 3000"


def _line_document(results: Results, line: Line) -> dict[str, Any]:
    carried = {way: bonded.carried_bps(line.name) for way, bonded in results.bonded.items()}
    return {
        **{f"alone_{way}_bps": _whole(line.alone_bps[way]) for way in DIRECTIONS},
        **{f"bonded_{way}_bps": _whole(carried.get(way)) for way in DIRECTIONS},
    }


def _file_document(file: FileMoved) -> dict[str, Any]:
    return {
        "name": file.name,
        "direction": file.direction,
        "size_bytes": file.size_bytes,
        "sha256": file.expected,
        "intact": file.intact,
    }


def _bytes_by_line(results: Results, pick: Any) -> dict[str, dict[str, int | None]]:
    picked = {way: pick(bonded) for way, bonded in results.bonded.items()}
    return {
        line.name: {way: picked[way].get(line.name, 0) if way in picked else None for way in DIRECTIONS}
        for line in results.lines
    }


def _by_direction(pattern: str, rate: Any) -> dict[str, int | None]:
    return {pattern.format(direction): _whole(rate(direction)) for direction in DIRECTIONS}


def _rate_rows(results: Results) -> Iterator[tuple[str, str, str]]:
    def row(name: str, cell: Any) -> tuple[str, str, str]:
        return name, cell("down"), cell("up")

    for line in results.lines:
        yield row(f"{line.name} alone", lambda way, line=line: _mbit(line.alone_bps[way]))
    yield row("best single line", lambda way: _mbit(results.single_bps(way)))
    yield row("sum of the lines", lambda way: _mbit(results.sum_bps(way)))
    yield row("computed limit", lambda way: _mbit(results.limit_bps(way)))
    yield row("bonded", lambda way: _bonded_cell(results, way))
    for line in results.lines:
        yield row(f"  over {line.name}", lambda way, line=line: _share_cell(results, line, way))


def _bonded_cell(results: Results, direction: Direction) -> str:
    bonded, percent = results.bonded.get(direction), results.percent(direction)
    if bonded is None or percent is None:
        return "-"
    return f"{percent:.1f} %  {_mbit(bonded.rate_bps)}"


def _share_cell(results: Results, line: Line, direction: Direction) -> str:
    bonded = results.bonded.get(direction)
    if bonded is None:
        return "-"
    if line.name in bonded.withheld:
        return f"withheld  {_megabytes(bonded.by_uplink.get(line.name, 0))}"
    alone = line.alone_bps[direction]
    share = f"{100 * bonded.carried_bps(line.name) / alone:.0f} % of alone  " if alone else ""
    return f"{share}{_megabytes(bonded.by_uplink.get(line.name, 0))}"


def _sentences(results: Results) -> Iterator[str]:
    for direction, bonded in results.bonded.items():
        for line, why in bonded.withheld.items():
            subset = results.subset_percent(direction)
            rest = f"; the {_WORDS[direction]} is {subset:.1f} % of the other lines' sum" if subset else ""
            yield f"{line} is withheld from the {_WORDS[direction]}: {why}{rest}."
    if results.outage is not None:
        back = results.outage.rejoin_ms
        returned = "never carried data again" if back is None else f"carried data again {back:.0f} ms after it healed"
        yield (
            f"Silent blackhole of {results.outage.line}: longest silence at the receiver"
            f" {results.outage.gap_ms:.0f} ms; {results.outage.line} {returned}."
        )
    good = sum(file.intact for file in results.files)
    yield f"{good} of {len(results.files)} files arrived intact (SHA-256); the demo took {results.duration_s:.0f} s."


def _mbit(bps: float | None) -> str:
    return "-" if bps is None else f"{bps / 1e6:.1f} Mbit/s"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _tenths(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
