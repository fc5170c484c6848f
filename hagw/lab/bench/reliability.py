"""Faults as a table of documents: a row a fault, what the LAN noticed of it beside each other. Made from JSON alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from hagw.lab.bench.faults import FAULTS, NO_FAULT
from hagw.lab.bench.scenario import MEASURES

# Measures by the heading they have in the table.
COLUMNS: Final[Mapping[str, str]] = {
    "outage": "new requests unanswered for",
    "transfer-gap": "download silent for",
    "bonded-again": "bonded again after",
}

Entry = Mapping[str, Any]


def is_about_faults(entries: Sequence[Entry]) -> bool:
    """Say whether a scenario's entries are figures of faults."""
    return all(MEASURES[entry["measure"]].activity == "endure" for entry in entries if entry["measure"] in MEASURES)


def rows(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield the Markdown lines of a scenario's faults: hagw's medians, in brackets the extremes of several runs."""
    measured = [name for name in COLUMNS if any(entry["measure"] == name for entry in entries)]
    yield f"| fault | {' | '.join(COLUMNS[name] for name in measured)} | |"
    yield f"|---|{'---|' * (len(measured) + 1)}"
    for case in dict.fromkeys(entry["params"]["case"] for entry in entries):
        by_measure = {entry["measure"]: entry for entry in entries if entry["params"]["case"] == case}
        cells = [_figure(by_measure[name]) if name in by_measure else "" for name in measured]
        remarks = "; ".join(_remarks(by_measure))
        words = _words(next(iter(by_measure.values()))["params"])
        yield f"| `{case}`: {words} | {' | '.join(cells)} | {remarks} |".replace("  ", " ")


def _words(params: Mapping[str, Any]) -> str:
    lines = "; ".join(f"{event['event']} at {event['at_s']:g} s" for event in params["events"])
    said = "" if params["fault"] == NO_FAULT else FAULTS[params["fault"]].title
    return "; ".join(part for part in (said, lines) if part) + f", for {params['lasts_s']:g} s"


def _figure(entry: Entry) -> str:
    row = entry["systems"]["hagw"]
    if row["median"] is None:
        return "–"
    shown = [f"{row[key]:.0f} ms" if entry["unit"] == "ms" else f"{row[key]:.1f} s" for key in ("median", "min", "max")]
    return shown[0] if len(row["runs"]) == 1 else f"{shown[0]} ({shown[1]}–{shown[2]})"


def _remarks(by_measure: Mapping[str, Entry]) -> Iterator[str]:
    missed = [entry for entry in by_measure.values() if entry["pass"] is False]
    yield from (f"MISSED: {entry['measure']} {entry['target']}" for entry in missed)
    for entry in by_measure.values():
        row = entry["systems"]["hagw"]
        if row["why_not"]:
            yield str(row["why_not"]).replace("|", "/")
        if sum(row["notes"].get("cut_off", ())):
            yield "the download was cut off"
        if failed := [round(value) for value in row["notes"].get("failed", ()) if value]:
            asked = [round(value) for value in row["notes"]["answered"]]
            yield f"requests failed: {', '.join(map(str, failed))} beside {', '.join(map(str, asked))} answered"
