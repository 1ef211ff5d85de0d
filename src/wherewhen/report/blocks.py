"""What a page is made of. Every text is plain: the template escapes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class Note:
    """A paragraph."""

    text: str
    block: ClassVar[str] = "note"


@dataclass(frozen=True)
class Chart:
    """A figure drawn by the browser.

    Args:
        name: Its id in the page.
        spec: Vega-Lite.
        title: Above it.
        alt: What it says, for people who do not see it.
        aspect: Height over width where it is a map, which can be moved and zoomed; else None.
    """

    name: str
    spec: dict[str, Any]
    title: str
    alt: str
    aspect: float | None = None
    block: ClassVar[str] = "chart"


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows.

    Args:
        caption: Above it.
        head: Of every column.
        rows: Of as many cells.
        folded: Away, where it only repeats a figure.
        words: Cells are words, not figures.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: bool = False
    words: bool = False
    block: ClassVar[str] = "table"


@dataclass(frozen=True)
class Picture:
    """An image within the page: a data address and what it shows."""

    source: str
    alt: str
    title: str


@dataclass(frozen=True)
class Card:
    """Pictures of one patch with lines below, each a heading and a text; `right` None where it is in between."""

    pictures: Sequence[Picture]
    lines: Sequence[tuple[str, str]]
    right: bool | None = None


@dataclass(frozen=True)
class Gallery:
    """Cards under a heading."""

    title: str
    cards: Sequence[Card]
    legend: Sequence[tuple[str, str]] = ()  # class, colour
    block: ClassVar[str] = "gallery"


@dataclass(frozen=True)
class Listing:
    """Text of a file or a command, as it is."""

    title: str
    text: str
    folded: bool = False
    block: ClassVar[str] = "listing"


@dataclass(frozen=True)
class Beside:
    """Blocks side by side where there is room."""

    blocks: Sequence[Chart | Table | Listing]
    block: ClassVar[str] = "beside"


Block = Note | Chart | Table | Gallery | Listing | Beside


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading; left out where it is empty.

    Args:
        key: Its id.
        title: Its heading.
        blocks: Its content.
        tables: Columns of numbers that several of its charts show, by the name under which they do.
    """

    key: str
    title: str
    blocks: Sequence[Block]
    tables: Mapping[str, Mapping[str, Sequence[float | None]]] = field(default_factory=dict)
