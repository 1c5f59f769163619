"""Text and elements of HTML: whatever is not an element is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Html:
    """Text that is HTML already."""

    text: str


Content = Html | str
"""Elements, and text that is none yet."""


def escaped(text: str) -> str:
    """Text as it is shown: no mark-up, and characters that are invisible or turn the direction of writing as codes."""
    shown = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
    return escape(shown, quote=True)


def markup(content: Content) -> str:
    """HTML of an element or of text."""
    return content.text if isinstance(content, Html) else escaped(content)


def element(name: str, content: Sequence[Content] = (), attributes: Mapping[str, str] | None = None) -> Html:
    """An element with its attributes; without content it stands alone where HTML has it so."""
    given = "".join(f' {key}="{escaped(value)}"' for key, value in (attributes or {}).items())
    inside = "".join(map(markup, content))
    return Html(f"<{name}{given}>" if name in _VOID else f"<{name}{given}>{inside}</{name}>")


_VOID = ("img", "meta", "br")


def joined(content: Iterable[Content]) -> Html:
    """One after the other."""
    return Html("".join(map(markup, content)))


def section(title: str, content: Sequence[Content]) -> Html:
    """A part of a page under a heading."""
    return element("section", [element("h2", [title]), *content])


def paragraph(text: str, kind: str = "") -> Html:
    """A paragraph, of a class of the style sheet where one is named."""
    return element("p", [text], {"class": kind} if kind else None)


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[Content]]) -> Html:
    """A table whose first column names its rows, in a frame of its own that scrolls where it is too wide."""
    head = element("tr", [element("th", [name], {"scope": "col"}) for name in header])
    body = [
        element("tr", [element("th", [row[0]], {"scope": "row"}), *(element("td", [cell]) for cell in row[1:])])
        for row in rows
    ]
    inner = [element("caption", [caption]), element("thead", [head]), element("tbody", body)]
    frame = {"class": "frame", "tabindex": "0", "role": "region", "aria-label": caption}
    return element("div", [element("table", inner)], frame)
