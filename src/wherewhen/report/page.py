"""Sections -> one HTML file, with its style, its program and its data within it."""

from collections.abc import Iterator, Sequence
from importlib import resources

import jinja2

from wherewhen.errors import UserError
from wherewhen.report.blocks import Beside, Block, Chart, Section
from wherewhen.report.points import Points, pack


def page(title: str, subtitle: str, sections: Sequence[Section], points: Points | None, absent: Sequence[str]) -> str:
    """The file's text; equal input gives equal bytes.

    Args:
        title: Of the page.
        subtitle: Under it.
        sections: Empty ones are left out.
        points: What maps show.
        absent: What could not be shown, and how to come by it.
    """
    shown = [section for section in sections if section.blocks]
    tables = {name: {"columns": {column: pack(values) for column, values in table.items()}}
              for section in shown for name, table in section.tables.items()}  # fmt: skip
    if points is not None:
        tables["patches"] = points.json()
    charts = {chart.name: {"spec": chart.spec, "aspect": chart.aspect} for chart in charts_of(shown)}
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(part("page.html.j2")).render(
        title=title,
        subtitle=subtitle,
        sections=shown,
        absent=absent,
        style=part("style.css"),
        program=part("page.js"),
        library=library(),
        data={"tables": tables, "charts": charts},
    )


def part(name: str) -> str:
    """A file of this package."""
    return resources.files("wherewhen.report").joinpath(name).read_text(encoding="utf-8")


def library() -> str:
    """Vega-Lite and all that it needs, as one script that fetches nothing.

    Raises:
        UserError: It is not installed.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise UserError("a report needs the extra `report`: `pip install 'wherewhen[report]'`") from error
    text: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return text.replace("</script", "<\\/script")


def charts_of(sections: Sequence[Section]) -> Iterator[Chart]:
    """Every chart of the page."""

    def of(blocks: Sequence[Block]) -> Iterator[Chart]:
        for block in blocks:
            if isinstance(block, Chart):
                yield block
            elif isinstance(block, Beside):
                yield from of(block.blocks)

    for section in sections:
        yield from of(section.blocks)
