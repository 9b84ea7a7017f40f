"""One self-contained HTML page that a person reads: no request leaves it, and every number says its source.

A page may print the word "physical" only when at least one of its measures is physical; otherwise making the page
is refused. Everything handed in is escaped: names in data are text, never markup.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Literal

from optics_sim.design import write_atomically
from optics_sim.errors import PrivcamError
from optics_sim.measure import Measure

Cell = str | int | float | None | Measure
Picture = bytes | str
Callout = Literal["note", "warning", "simulated"]
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
NUMBER = ' class="number"'
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STYLE = """
:root{color-scheme:light dark;--ink:#1d2129;--paper:#fff;--faint:#5a6270;--line:#d9dde4;--card:#f5f6f8;--accent:#1b5e9b;
--note:#e8f0f9;--warn:#fdf1dc;--sim:#efe9fb}
@media(prefers-color-scheme:dark){:root{--ink:#e4e7ec;--paper:#14171c;--faint:#a0a8b5;--line:#343a45;--card:#1d2128;
--accent:#7db7ee;--note:#1a2938;--warn:#352a14;--sim:#2a2240}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main,header,footer{max-width:1360px;margin:0 auto;padding:0 20px}header{padding-top:28px}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 4px}h2{font-size:1.25rem;margin:40px 0 8px;padding-top:12px;
border-top:1px solid var(--line)}.subtitle{color:var(--faint);margin:0 0 16px}p{max-width:75ch;margin:8px 0}
nav{margin:14px 0}nav a{color:var(--accent);margin-right:14px;white-space:nowrap}
figure{margin:18px 0}
figure img{max-width:100%;height:auto;display:block;background:#fff;padding:6px;border:1px solid var(--line);
border-radius:4px}figcaption,caption,.notes{color:var(--faint);font-size:.88rem}
figcaption{margin-top:6px;max-width:75ch}caption{text-align:left;padding:0 0 6px;caption-side:top}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(170px,1fr));gap:14px;margin:18px 0}
.gallery figure{margin:0}.gallery img{width:100%;padding:0;image-rendering:pixelated}
.scroll{overflow-x:auto;margin:16px 0}table{border-collapse:collapse;min-width:50%;font-variant-numeric:tabular-nums}
th,td{padding:6px 12px;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
thead th{border-bottom:2px solid var(--line);font-size:.88rem}tbody th{font-weight:500}
tr.group th{background:var(--card);font-weight:600;padding-top:8px}
.number{text-align:right!important}td.number{white-space:nowrap}
.interval{display:block;color:var(--faint);font-size:.8rem}.source{display:inline-block;font-size:.72rem;color:var(--faint);
border:1px solid var(--line);border-radius:8px;padding:0 6px;margin-left:4px}
.single .source{display:none}.callout{border-left:4px solid var(--accent);background:var(--note);padding:10px 14px;
margin:16px 0;border-radius:0 4px 4px 0}.callout p{margin:4px 0}.callout.warning{background:var(--warn);border-color:#b7791f}
.callout.simulated{background:var(--sim);border-color:#7450c4}footer{color:var(--faint);font-size:.85rem;
margin-top:48px;padding-bottom:32px}
@media(max-width:600px){h1{font-size:1.4rem}th,td{padding:5px 8px}main,header,footer{padding-left:14px;padding-right:14px}
.gallery{grid-template-columns:repeat(2,1fr)}}
@media print{h2{break-after:avoid}figure,tr{break-inside:avoid}}
"""


class Page:
    """A page under construction; every method returns the page, so that calls chain."""

    def __init__(self, title: str, subtitle: str = "") -> None:
        self._title, self._subtitle = title, subtitle
        self._blocks: list[str] = []
        self._headings: list[str] = []
        self._measures: list[Measure] = []
        self._drawings: list[str] = []

    def section(self, heading: str, text: str = "") -> Page:
        """Begins a section; blank lines in the text part its paragraphs."""
        self._headings.append(heading)
        self._blocks.append(f'<h2 id="section-{len(self._headings)}">{escape(heading)}</h2>{_paragraphs(text)}')
        return self

    def figure(self, picture: Picture, caption: str, alt: str) -> Page:
        """Adds a PNG (bytes) or SVG (text); `alt` says in words what is to be seen, and may not be empty."""
        self._blocks.append(self._figure(picture, caption, alt))
        return self

    def gallery(self, pictures: Sequence[tuple[Picture, str]]) -> Page:
        """Adds small pictures in a grid, each with its caption, which is its alt text too."""
        cells = "".join(self._figure(picture, caption, caption) for picture, caption in pictures)
        self._blocks.append(f'<div class="gallery">{cells}</div>')
        return self

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str, notes: Sequence[str] = ()) -> Page:
        """Adds a table whose first column names the row; a `Measure` prints with its interval and source."""
        for row in rows:
            if len(row) != len(headers):
                raise PrivcamError("a row does not fit the headers", got=f"{len(row)} cells", allowed=f"{len(headers)}",
                                   todo="give every row one cell per header (None for empty)")
        self._measures.extend(cell for row in rows for cell in row if isinstance(cell, Measure))
        self._blocks.append(render_table(headers, rows, caption, notes))
        return self

    def measures(self, measures: Iterable[Measure], caption: str = "All measures") -> Page:
        """Adds the full table of measures, grouped by the first part of their names."""
        kept = list(measures)
        self._measures.extend(kept)
        self._blocks.append(render_measures_table(kept, caption))
        return self

    def callout(self, kind: Callout, text: str) -> Page:
        """Adds a box that stands out: a note, a warning, or a statement that something is simulated."""
        if kind not in ("note", "warning", "simulated"):
            raise PrivcamError("no such callout", got=kind, allowed="note, warning, simulated", todo="choose one of these")
        self._blocks.append(f'<div class="callout {kind}" role="note">{_paragraphs(text)}</div>')
        return self

    def html(self) -> str:
        """Returns the page; PrivcamError when it says "physical" without one physical measure."""
        sources: Counter[str] = Counter(measure.source for measure in self._measures)
        links = " ".join(f'<a href="#section-{i}">{escape(h)}</a>' for i, h in enumerate(self._headings, 1))
        navigation = f'<nav aria-label="Sections">{links}</nav>' if len(self._headings) > 2 else ""
        subtitle = f'<p class="subtitle">{escape(self._subtitle)}</p>' if self._subtitle else ""
        page = (
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
            f"<title>{escape(self._title)}</title><style>{STYLE}</style></head>"
            f'<body class="{"mixed" if len(sources) > 1 else "single"}"><header><h1>{escape(self._title)}</h1>{subtitle}'
            f"{_banner(sources)}{navigation}</header>\n<main>\n" + "\n".join(self._blocks) + "\n</main>"
            "<footer>Intervals are 95 % unless stated; n counts originals, never flips or repeats.</footer></body></html>\n"
        )
        self._refuse_false_claim(page, sources)
        return page

    def write(self, path: Path) -> Path:
        """Writes the page atomically (its folder is created) and returns its path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, self.html().encode())
        return path

    def _figure(self, picture: Picture, caption: str, alt: str) -> str:
        if not alt.strip():
            raise PrivcamError("a figure without an alt text", got=repr(alt), allowed="what is to be seen, in words",
                               todo="describe the figure for a reader who cannot see it")
        if isinstance(picture, str):
            self._drawings.append(picture)
        words = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        return f'<figure><img src="{_data_uri(picture)}" alt="{escape(alt)}">{words}</figure>'

    def _refuse_false_claim(self, page: str, sources: Counter[str]) -> None:
        text = " ".join([re.sub(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]*", "", page), *self._drawings])
        if not sources["physical"] and "physical" in text.lower():
            where = text.lower().index("physical")
            raise PrivcamError('a page without a physical measure says "physical"', got=text[max(0, where - 40) : where + 40],
                               allowed="the word only beside measures whose frames a real camera took",
                               todo="say what was simulated, or choose another word")


def render_table(headers: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str, notes: Sequence[str] = ()) -> str:
    """Returns the HTML of a table with a caption, header cells, row headers and notes below; escaped."""
    numeric = [any(_is_number(row[i]) for row in rows) and i > 0 for i in range(len(headers))]
    head = "".join(f'<th scope="col"{NUMBER if right else ""}>{escape(header)}</th>'
                   for header, right in zip(headers, numeric, strict=True))
    body = "".join(f"<tr>{''.join(_cell(cell, first=i == 0) for i, cell in enumerate(row))}</tr>" for row in rows)
    return _table(head, body, caption) + "".join(f'<p class="notes">{escape(note)}</p>' for note in notes)


def render_measures_table(measures: Iterable[Measure], caption: str = "All measures") -> str:
    """Returns the HTML of every measure: value, interval, unit, n, source, note; grouped by name prefix.

    The prefix is what stands before the first "/" or "." of a name. Groups keep the order of first appearance.
    """
    groups: dict[str, list[Measure]] = {}
    for measure in measures:
        groups.setdefault(re.split(r"[/.]", measure.name, maxsplit=1)[0], []).append(measure)
    headers = ("measure", "value", "unit", "n", "source", "note")
    head = "".join(f'<th scope="col"{NUMBER if header == "value" else ""}>{header}</th>' for header in headers)
    body = ""
    for name, members in groups.items():
        body += f'<tr class="group"><th colspan="{len(headers)}" scope="colgroup">{escape(name)}</th></tr>'
        body += "".join(_measure_row(measure, name) for measure in members)
    return _table(head, body, caption)


# --- helpers --------------------------------------------------------------------------------------
def _measure_row(measure: Measure, group: str) -> str:
    name = measure.name[len(group) + 1 :] or measure.name
    count = "" if measure.n is None else str(measure.n)
    unit = "" if measure.unit == "1" else measure.unit
    rest = "".join(f"<td>{escape(text)}</td>" for text in (unit, count, measure.source, measure.note))
    return f'<tr><th scope="row">{escape(name)}</th><td class="number">{_value(measure)}</td>{rest}</tr>'


def _table(head: str, body: str, caption: str) -> str:
    return (f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
            f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>")


def _cell(cell: Cell, *, first: bool) -> str:
    if isinstance(cell, Measure):
        unit = "" if cell.unit == "1" or cell.value is None else f" {escape(cell.unit)}"
        hint = escape(f"{cell.name}; n = {cell.n}; {cell.source}" + (f"; {cell.note}" if cell.note else ""))
        return f'<td class="number" title="{hint}">{_value(cell, unit)}<span class="source">{cell.source}</span></td>'
    if first:
        return f'<th scope="row">{escape(_plain(cell))}</th>'
    return f"<td{NUMBER if _is_number(cell) else ''}>{escape(_plain(cell))}</td>"


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, (int, float, Measure)) and not isinstance(cell, bool)


def _value(measure: Measure, unit: str = "") -> str:
    if measure.value is None:
        return "&ndash;"
    value = _digits(measure.value) + unit
    if measure.interval is None:
        return value
    low, high = (_digits(bound) for bound in measure.interval)
    kind = "" if measure.interval_kind.startswith("95 %") else f" {escape(measure.interval_kind)}"
    return f'{value}<span class="interval" title="{escape(measure.interval_kind)}">[{low}, {high}]{kind}</span>'


def _digits(value: float) -> str:
    return f"{value:.3f}" if 1e-2 <= abs(value) < 1e3 or value == 0 else f"{value:.4g}"


def _plain(cell: str | int | float | None) -> str:
    if cell is None:
        return ""
    return _digits(cell) if isinstance(cell, float) else str(cell)


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(part.strip())}</p>" for part in re.split(r"\n\s*\n", text) if part.strip())


def _banner(sources: Counter[str]) -> str:
    if not sources:
        return '<div class="callout simulated" role="note"><p>This page holds no measured number.</p></div>'
    if set(sources) == {"simulated"}:
        words = "SIMULATED: every number on this page was simulated; no camera took part."
    else:
        counts = ", ".join(f"{count} {source}" for source, count in sorted(sources.items()))
        words = f"Source of the numbers on this page: {counts}." + (" Each says which." if len(sources) > 1 else "")
    return f'<div class="callout simulated" role="note"><p><strong>{words}</strong></p></div>'


def _data_uri(picture: Picture) -> str:
    if isinstance(picture, str):
        if "<svg" not in picture:
            raise PrivcamError("not an SVG drawing", got=picture[:40], allowed="SVG text", todo="pass PNG as bytes")
        return "data:image/svg+xml;base64," + base64.b64encode(picture.encode()).decode()
    if not picture.startswith(PNG_MAGIC):
        raise PrivcamError("not a PNG picture", got=picture[:8], allowed="PNG bytes", todo="make it with report.figures")
    return "data:image/png;base64," + base64.b64encode(picture).decode()
