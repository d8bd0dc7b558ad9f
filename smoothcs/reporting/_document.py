"""A document of sections as text, Markdown and HTML; whatever it is given is escaped."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from smoothcs.plotting._common import printable


@dataclass(frozen=True)
class Sentences:
    """A title and its sentences."""

    title: str
    sentences: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A title, the names of the columns, and rows of as many entries."""

    title: str
    columns: Sequence[Any]
    rows: Sequence[Sequence[Any]]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A title, and a picture as PNG; only HTML shows it."""

    title: str
    png: bytes


Section = Sentences | Table | Picture

STYLE = """
.smoothcs-report { font-family: sans-serif; max-width: 60em; line-height: 1.4; }
.smoothcs-report table { border-collapse: collapse; display: block; overflow-x: auto; }
.smoothcs-report th, .smoothcs-report td { padding: .2em .8em .2em 0; text-align: left;
  border-bottom: 1px solid #8888; vertical-align: top; }
.smoothcs-report img { max-width: 100%; background: white; }
.smoothcs-report .note { font-size: smaller; }
"""


def plain(value: Any) -> str:
    """Return text on one line, without characters that act on a terminal."""
    return printable(" ".join(str(value).split()))


def as_text(title: str, sections: Sequence[Section]) -> str:
    """Return the document as plain text."""
    blocks = [plain(title)]
    for section in sections:
        if isinstance(section, Picture):
            continue
        lines = ["", plain(section.title), "-" * len(plain(section.title))]
        if isinstance(section, Sentences):
            lines += [f"- {plain(sentence)}" for sentence in section.sentences]
        else:
            lines += aligned(section)
            lines += [plain(section.note)] if section.note else []
        blocks += lines
    return "\n".join(blocks)


def aligned(table: Table) -> list[str]:
    """Return the lines of a table, its columns aligned."""
    rows = [[plain(entry) for entry in row] for row in (table.columns, *table.rows)]
    if not any(rows[0]):
        rows = rows[1:]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(e.ljust(w) for e, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def as_markdown(title: str, sections: Sequence[Section]) -> str:
    """Return the document as Markdown, without its pictures."""
    blocks = [f"# {_md(title)}"]
    for section in sections:
        if isinstance(section, Picture):
            continue
        blocks.append(f"## {_md(section.title)}")
        if isinstance(section, Sentences):
            blocks.append("\n".join(f"- {_md(sentence)}" for sentence in section.sentences))
        else:
            head = [_md(name) for name in section.columns]
            lines = [head, ["---"] * len(head), *[[_md(e) for e in row] for row in section.rows]]
            blocks.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
            blocks += [_md(section.note)] if section.note else []
    return "\n\n".join(blocks) + "\n"


def as_html(title: str, sections: Sequence[Section]) -> str:
    """Return the document as an HTML fragment that needs nothing from elsewhere."""
    parts = [f"<article class='smoothcs-report'><style>{STYLE}</style><h1>{_html(title)}</h1>"]
    for section in sections:
        parts.append(f"<section><h2>{_html(section.title)}</h2>")
        if isinstance(section, Picture):
            data = base64.b64encode(section.png).decode("ascii")
            name = _html(section.title)
            parts.append(f"<img alt='{name}' src='data:image/png;base64,{data}'>")
        elif isinstance(section, Sentences):
            items = "".join(f"<li>{_html(sentence)}</li>" for sentence in section.sentences)
            parts.append(f"<ul>{items}</ul>")
        else:
            parts.append(_html_table(section))
        parts.append("</section>")
    return "\n".join([*parts, "</article>"])


def as_page(title: str, fragment: str) -> str:
    """Return a fragment as an HTML page of its own."""
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{_html(title)}</title></head>\n<body>\n{fragment}\n</body></html>\n"
    )


def _html_table(table: Table) -> str:
    names = "".join(f"<th scope='col'>{_html(name)}</th>" for name in table.columns)
    head = f"<thead><tr>{names}</tr></thead>" if any(table.columns) else ""
    rows = []
    for first, *others in table.rows:
        cells = "".join(f"<td>{_html(entry)}</td>" for entry in others)
        rows.append(f"<tr><th scope='row'>{_html(first)}</th>{cells}</tr>")
    note = f"<p class='note'>{_html(table.note)}</p>" if table.note else ""
    return f"<table>{head}<tbody>{''.join(rows)}</tbody></table>{note}"


def _html(value: Any) -> str:
    return escape(plain(value))


def _md(value: Any) -> str:
    text = escape(plain(value), quote=False)
    # An underscore within a word, as in rob_cs, is not emphasis.
    return re.sub(r"([\\`*\[\]|#~!]|(?<!\w)_|_(?!\w))", r"\\\1", text)
