"""A bench's document as a table for a terminal and as one HTML page that needs nothing else.

Both are made from the JSON alone, so that `lab report` can make them again from a file.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from rich.table import Table

from hagw.lab.bench import plot, reliability

# A document that has both gets the tables between them.
BEGIN: Final = "<!-- bench: begin -->"
END: Final = "<!-- bench: end -->"

_STYLE: Final = """
:root{color-scheme:light dark;--grid:#8884}
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem}
h2{margin-top:2.5rem}h3{margin:1.8rem 0 .3rem;font-size:1rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.15rem .8rem .15rem 0;border-bottom:1px solid var(--grid)}
td.n,th.n{text-align:right}.hagw td{font-weight:600}.no{opacity:.65}
.met{color:#18794e}.missed{color:#cd2b31}small{opacity:.75}svg{max-width:100%;height:auto;margin:.6rem 0}
"""


def tables(document: Mapping[str, Any]) -> Iterator[Table]:
    """Yield a table a scenario."""
    for name, entries in _by_scenario(document).items():
        title = f"{name}: {entries[0]['title']}" if entries[0].get("title") else name
        table = Table(title=title, title_justify="left")
        for heading in ("case", "system"):
            table.add_column(heading, overflow="fold")
        for heading in ("median", "min–max", "of limit"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("", overflow="fold")
        for entry in entries:
            words = f"{entry['params']['case']} {entry['measure']}"
            for system, row in entry["systems"].items():
                table.add_row(words, system, *_cells(row, entry), _remark(system, row, entry))
                words = ""
            table.add_row("", "physical limit", figure(entry["limit"], entry["unit"]), "", "", "")
            table.add_section()
        yield table


def html(document: Mapping[str, Any]) -> str:
    """Return the whole report as one page, plots included."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>hagw bench {escape(document['date'])}</title><style>{_STYLE}</style>",
        "<h1>hagw bench</h1>",
        f"<p>{escape(document['machine'])}; Linux {escape(document['kernel'])}; hagw {escape(document['commit'])};"
        f" {escape(document['date'])}. Systems took turns in the same run. Everything, servers and lines included,"
        " ran on this one machine.</p>",
    ]
    for name, entries in _by_scenario(document).items():
        parts.append(f"<h2>{escape(name)}</h2><p>{escape(entries[0].get('title', ''))}</p>")
        for entry in entries:
            parts += _html_case(entry)
    return "\n".join(parts) + "\n"


def markdown(document: Mapping[str, Any]) -> str:
    """Return the tables as Markdown, for a document between BEGIN and END."""
    about = f"{document['machine']}; Linux {document['kernel']}; hagw {document['commit']}; {document['date']}"
    parts = [
        f"Measured by `./lab bench` on {about}. Everything, servers and lines included, ran on this one machine.",
        "",
    ]
    for name, entries in _by_scenario(document).items():
        parts += [
            f"### Bench: {name}",
            "",
            f"{entries[0]['title']}. Preset, cases and targets: `hagw/lab/data/bench`.",
            "",
        ]
        if reliability.is_about_faults(entries):
            parts += [*reliability.rows(entries), ""]
            continue
        parts += ["| case | system | median | min–max | of limit | |", "|---|---|---|---|---|---|"]
        for entry in entries:
            words = f"{entry['params']['case']}: {entry['measure']}"
            for system, row in entry["systems"].items():
                cells = (words, system, *_cells(row, entry), _remark(system, row, entry))
                parts.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
                words = ""
            if entry["limit"] is not None:
                parts.append(f"| | physical limit | {figure(entry['limit'], entry['unit'])} | | | |")
        parts.append("")
    return "\n".join(parts)


def replaced(text: str, section: str) -> str | None:
    """Return a document with another section between BEGIN and END; None if it does not have both, in this order."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}\n{section}{end}{after}" if begin and end else None


def figure(value: float | None, unit: str) -> str:
    """Return a figure as a person reads it."""
    if value is None:
        return "–"
    match unit:
        case "bit/s":
            return f"{value / 1e9:.2f} Gbit/s" if value >= 1e9 else f"{value / 1e6:.1f} Mbit/s"
        case "ms":
            return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms"
        case _:
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def _by_scenario(document: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for entry in document["scenarios"]:
        found.setdefault(entry["name"], []).append(entry)
    return found


def _cells(row: Mapping[str, Any], entry: Mapping[str, Any]) -> tuple[str, str, str]:
    unit, limit = entry["unit"], entry["limit"]
    if row["median"] is None:
        return "–", "", ""
    spread = f"{figure(row['min'], unit)} – {figure(row['max'], unit)}" if len(row["runs"]) > 1 else "1 run"
    return figure(row["median"], unit), spread, f"{100 * row['median'] / limit:.0f} %" if limit else ""


def _remark(system: str, row: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """Say what else is to know of a row: why there is none, the target, proof, fairness."""
    parts = []
    if row["why_not"]:
        parts.append(f"not measured: {row['why_not']}" if row["median"] is None else f"a run failed: {row['why_not']}")
    if system == "hagw" and entry["target"]:
        judged = {True: "met", False: "MISSED", None: "not judged"}[entry["pass"]]
        parts.append(f"{judged}: {entry['target']}")
    if row["unproven"]:
        parts.append(f"{row['unproven']} of {len(row['proof'])} runs NOT PROVEN to have gone over MPTCP")
    elif row["proof"]:
        parts.append("proven over MPTCP")
    parts += [f"{key} {', '.join(f'{value:.3g}' for value in values)}" for key, values in row["notes"].items()]
    return "; ".join(parts)


def _html_case(entry: Mapping[str, Any]) -> Iterator[str]:
    params = entry["params"]
    settings = ", ".join(f"{key} {value}" for key, value in params.items() if key not in ("case", "links", "events"))
    yield f"<h3>{escape(params['case'])}: {escape(entry['measure'])} <small>{escape(settings)}</small></h3>"
    yield "<table><tr><th>system<th class=n>median<th class=n>min–max<th class=n>of limit<th></tr>"
    for system, row in entry["systems"].items():
        kind = "hagw" if system == "hagw" else "no" if row["median"] is None else ""
        cells = "".join(f"<td class=n>{escape(cell)}" for cell in _cells(row, entry))
        colour = {True: "met", False: "missed", None: ""}[entry["pass"]] if system == "hagw" else ""
        remark = f"<td class='{colour}'>{escape(_remark(system, row, entry))}"
        yield f"<tr class='{kind}'><td>{escape(system)}{cells}{remark}</tr>"
    yield f"<tr><td>physical limit<td class=n>{escape(figure(entry['limit'], entry['unit']))}<td><td><td></tr></table>"
    for system, row in entry["systems"].items():
        if row["timeline"] and row["timeline"]["lines"] and _worth_a_plot(system, entry):
            yield plot.rates(f"{system}: rates by line", row["timeline"])
    proofs: Sequence[str] = entry["systems"].get("hagw", {}).get("proof", ())
    yield from (f"<p><small>hagw, run {number}: {escape(text)}</small></p>" for number, text in enumerate(proofs, 1))


def _worth_a_plot(system: str, entry: Mapping[str, Any]) -> bool:
    return not system.startswith("line ") and entry["measure"] in ("goodput", "gap")
