"""The look of all charts, and the kinds of charts that there are.

Colours are CSS variables, which the page sets for light and dark; the SVG renderer leaves them as
they are. A chart's rows are the data of the name `rows`, which the page fills in.
"""

from __future__ import annotations

import json
from typing import Any

import altair as alt

from lakehouse.report.parts import Chart, Choice, Column

INK, SOFT, GRID = "var(--ink)", "var(--soft)", "var(--grid)"
MAIN, PALE, ALARM = "var(--main)", "var(--pale)", "var(--alarm)"
# Of what has no order, told apart also without colours of vision (after Okabe and Ito).
SERIES = tuple(f"var(--series-{number})" for number in range(1, 7))
_FONT = "system-ui, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"
_ROW = 22  # pixels
# So many days are told apart one by one.
_FEW_DAYS = 31

_CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": _FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": SOFT,
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "gridColor": GRID,
        "domainColor": GRID,
        "tickColor": GRID,
        "labelLimit": 190,
        "titleLimit": 400,
        "labelOverlap": True,
        "labelSeparation": 6,
    },
    "axisY": {"domain": False, "ticks": False, "labelPadding": 6},
    "legend": {
        "labelColor": INK,
        "titleColor": SOFT,
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "orient": "top",
        "columns": {"expr": "width < 420 ? 2 : 4"},
        "labelLimit": 150,
    },
    "text": {"color": INK, "fontSize": 12},
    "bar": {"color": MAIN},
    "line": {"color": MAIN, "strokeWidth": 2},
    "rule": {"color": SOFT},
    "tick": {"color": INK, "thickness": 3},
    "point": {"color": MAIN, "filled": True, "size": 30, "opacity": 1},
}
_PLAIN = ",~f"
# By what a label stands for: a day's hours, or the day itself where it begins.
_TIMES = dict.fromkeys(("minutes", "hours"), "%H:%M") | dict.fromkeys(
    ("day", "date", "week"), "%-d %b"
)
_FORMATS = {"count": ",d", "share": ".1%"}


def _format(column: Column) -> str:
    return _FORMATS.get(column.kind, f",.{column.digits}f")


def _title(column: Column) -> str:
    return column.title if column.kind == "share" else column.header


def _tooltips(*columns: Column, are_days: bool = False) -> list[alt.Tooltip]:
    """What the pointer is told; dates as they are where `are_days`, which are names there."""

    def tooltip(column: Column) -> alt.Tooltip:
        if column.kind == "date" and not are_days:
            return alt.Tooltip(
                field=column.name, type="temporal", timeUnit="utcyearmonthdate", title=column.title
            )
        if column.kind == "time":
            return alt.Tooltip(
                field=column.name,
                type="temporal",
                timeUnit="utcyearmonthdatehoursminutes",
                title=column.header,
            )
        if column.kind in ("count", "share", "number"):
            return alt.Tooltip(
                field=column.name, type="quantitative", format=_format(column), title=_title(column)
            )
        return alt.Tooltip(field=column.name, type="nominal", title=column.title)

    return [tooltip(column) for column in columns]


def _said(*columns: Column) -> str:
    """An expression for what a mark says to who cannot see it: each column's name and value."""

    def said(column: Column) -> str:
        field = f"datum[{json.dumps(column.name)}]"
        if column.kind == "date":
            value = f"utcFormat(toDate({field}), '%-d %b %Y')"
        elif column.kind == "time":
            value = f"utcFormat(toDate({field}), '%-d %b %Y, %H:%M')"
        elif column.kind in ("count", "share", "number"):
            value = f"format({field}, {json.dumps(_format(column))})"
        else:
            value = field
        return f"{json.dumps(_title(column) + ': ')} + (isValid({field}) ? {value} : 'unknown')"

    return " + '; ' + ".join(said(column) for column in columns)


def _axis(column: Column) -> alt.Axis:
    """The axis of a figure; between two of what is counted there is none."""
    form = "~%" if column.kind == "share" else _PLAIN
    whole: dict[str, Any] = {"tickMinStep": 1} if column.kind == "count" else {}
    # Of labels without room as many stay as fit, where parity leaves the first and last alone.
    return alt.Axis(format=form, tickCount=5, labelOverlap="greedy", **whole)


def _value(column: Column, beside: Column | None = None) -> alt.X:
    """A horizontal axis of a figure, called as that which it is drawn beside."""
    return alt.X(
        field=column.name, type="quantitative", title=_title(beside or column), axis=_axis(column)
    )


def _names(column: Column) -> alt.Y:
    """A vertical axis of names, in the order of the rows."""
    return alt.Y(field=column.name, type="nominal", sort=None, title=None)


def _over_time(column: Column) -> alt.X:
    """A horizontal axis of time, of the rows' own: UTC or days, whatever the reader's zone."""
    unit = "utcyearmonthdate" if column.kind == "date" else None
    arguments: dict[str, Any] = {"timeUnit": unit} if unit else {}
    return alt.X(
        field=column.name,
        type="temporal",
        scale=alt.Scale(type="utc"),
        title=column.header,
        axis=alt.Axis(grid=False, tickCount=6, format="%-d %b" if unit else _TIMES),
        **arguments,
    )


def _few_days(column: Column, days: tuple[str, ...]) -> alt.X:
    """A horizontal axis with a place for each day, also for those without a row."""
    axis = alt.Axis(grid=False, labelAngle=0, labelExpr="utcFormat(toDate(datum.value), '%-d %b')")
    return alt.X(
        field=column.name,
        type="ordinal",
        scale=alt.Scale(domain=list(days)),
        title=column.header,
        axis=axis,
    )


def _base() -> alt.Chart:
    return alt.Chart()


def _finished(chart: Any, title: str, choice: Choice | None = None, **size: Any) -> Chart:
    spec = chart.properties(width="container", **size).to_dict(validate=False)
    for layer in spec.get("layer", ()):
        layer.pop("data", None)  # all layers have the chart's
    spec |= {"data": {"name": "rows"}, "config": _CONFIG}
    if choice:
        spec.setdefault("params", []).append({"name": "chosen", "value": choice.options[0]})
        keep = {"filter": f"datum[{choice.column!r}] === chosen"}
        spec["transform"] = [keep]
    return Chart(spec, title)


def ranking(
    title: str,
    names: Column,
    value: Column,
    *,
    more: tuple[Column, ...] = (),
    alarm: str = "",
    done: str = "",
    inside: Column | None = None,
    mark: Column | None = None,
    line: float | None = None,
) -> Chart:
    """Horizontal bars, one a name, in the order of the rows; none where the value is not known.

    A bar's figure stands at its end, unless a stroke may be there.

    Args:
        title: What it shows.
        names: Whose bars.
        value: Their length.
        more: What a bar tells besides.
        alarm: The column that is true where a bar asks somebody to act.
        done: The column that is true where somebody has acted already.
        inside: A part of the value, drawn within the bar.
        mark: A figure to compare with, drawn as a stroke across the bar.
        line: A limit for all.
    """
    told = tuple(column for column in (names, value, inside, mark, *more) if column)
    tips, said = _tooltips(*told), alt.ExprRef(_said(*told))
    colour: Any = alt.value(PALE if inside else MAIN)
    if alarm:
        calm = f"datum[{done!r}] ? {PALE!r} : {MAIN!r}" if done else repr(MAIN)
        colour = {"value": {"expr": f"datum[{alarm!r}] ? {ALARM!r} : {calm}"}}
    bars = _base().mark_bar(description=said, invalid="show", height={"band": 0.72})
    layers: list[Any] = [bars.encode(_value(value), _names(names), color=colour, tooltip=tips)]
    if inside:
        inner = _base().mark_bar(description=said, invalid="show", height={"band": 0.72})
        layers.append(
            inner.encode(_value(inside, value), _names(names), color=alt.value(MAIN), tooltip=tips)
        )
    if mark:
        stroke = _base().mark_tick(description=said, height={"band": 0.9})
        layers.append(stroke.encode(_value(mark, value), _names(names), tooltip=tips))
    if line is not None:
        limit = _base().mark_rule(strokeDash=[4, 3], aria=False)
        layers.append(limit.encode(alt.XDatum(line)))
    if mark is None:
        layers += _figures(names, value)
    # A figure of the longest bar stands beside the plot.
    beside = {"left": 5, "top": 5, "right": 26, "bottom": 5}
    return _finished(alt.layer(*layers), title, height={"step": _ROW}, padding=beside)


def _figures(names: Column, value: Column) -> list[Any]:
    """The figures at the ends of bars, for who has no pointer; where there is none, that."""
    field = f"datum[{value.name!r}]"
    if value.kind == "share":
        forms = f"0 < abs({field}) && abs({field}) < 0.0995 ? '.1%' : '.0%'"
    else:
        forms = f"abs({field}) < 100 ? '{_format(value)}' : ',.0f'"
    said = alt.ExprRef(f"format({field}, {forms})")
    figures = _base().mark_text(align="left", dx=5, aria=False, text=said)
    return [
        figures.transform_filter(f"isValid({field})").encode(
            alt.X(field=value.name, type="quantitative"),
            _names(names),
        ),
        _unknown(value).encode(alt.XDatum(0), _names(names)),
    ]


def _unknown(value: Column) -> Any:
    """The word where a figure is not known."""
    word = _base().mark_text(align="left", dx=5, aria=False, color=SOFT, text="unknown")
    return word.transform_filter(f"!isValid(datum[{value.name!r}])")


def columns_over_time(
    title: str,
    time: Column,
    value: Column,
    *,
    more: tuple[Column, ...] = (),
    inside: Column | None = None,
    parts: Column | None = None,
    choice: Choice | None = None,
    days: tuple[str, ...] = (),
    order: tuple[str, ...] = (),
) -> Chart:
    """Bars over days: one a day, or stacked by `parts`; `inside` is a part drawn within.

    `days` are all days, or weeks, from the first to the last; `order` is that of the parts, of
    which a sixth is grey.
    """
    told = tuple(column for column in (time, parts, value, inside, *more) if column)
    are_few = 0 < len(days) <= _FEW_DAYS
    tips, said = _tooltips(*told, are_days=are_few), alt.ExprRef(_said(*told))
    x = _few_days(time, days) if are_few else _over_time(time)
    width: dict[str, Any] = {}
    if are_few:  # a bar is no wider than a bar may be
        width = {"width": alt.ExprRef("min(0.85 * bandwidth('x'), 90)")}

    def bars(of: Column, colour: Any) -> Any:
        return (
            _base()
            .mark_bar(description=said, **width)
            .encode(
                x,
                alt.Y(field=of.name, type="quantitative", title=_title(value), axis=_axis(of)),
                color=colour,
                tooltip=tips,
            )
        )

    if parts:
        colours = alt.Scale(domain=list(order), range=list(SERIES))
        drawn: Any = bars(
            value,
            alt.Color(
                field=parts.name, type="nominal", scale=colours, title=parts.title, sort=None
            ),
        )
    elif inside:
        drawn = alt.layer(bars(value, alt.value(PALE)), bars(inside, alt.value(MAIN)))
    else:
        drawn = bars(value, alt.value(MAIN))
    return _finished(drawn, title, choice, height=240)


def line_over_time(
    title: str,
    time: Column,
    value: Column,
    *,
    more: tuple[Column, ...] = (),
    parts: Column | None = None,
    choice: Choice | None = None,
    band: tuple[Column, Column] | None = None,
    step: bool = False,
    line: float | None = None,
    days: tuple[str, ...] = (),
) -> Chart:
    """A line, or one of each of `parts`; `band` is drawn from its first column to its second.

    `days` are all days, or weeks, from the first to the last.
    """
    told = tuple(column for column in (time, parts, value, *(band or ()), *more) if column)
    are_few = 0 < len(days) <= _FEW_DAYS
    tips, said = _tooltips(*told, are_days=are_few), alt.ExprRef(_said(*told))
    x = _few_days(time, days) if are_few else _over_time(time)
    if time.kind not in ("time", "date"):
        whole = alt.Axis(grid=False, tickMinStep=1)
        x = alt.X(field=time.name, type="quantitative", title=time.header, axis=whole)
    from_zero = alt.Scale(zero=band is None)
    y = alt.Y(field=value.name, type="quantitative", title=_title(value), axis=_axis(value),
              scale=from_zero)  # fmt: skip
    colour: Any = alt.value(MAIN)
    if parts:
        scale = alt.Scale(range=list(SERIES))
        colour = alt.Color(
            field=parts.name, type="nominal", scale=scale, title=parts.title, sort=None
        )
    layers: list[Any] = []
    if band:
        low, high = band
        area = _base().mark_area(color=PALE, aria=False)
        layers.append(
            area.encode(
                x,
                alt.Y(field=low.name, type="quantitative", title=_title(value), scale=from_zero),
                alt.Y2(field=high.name),
            )
        )
    shape: dict[str, Any] = {"interpolate": "step-after"} if step else {}
    layers.append(_base().mark_line(aria=False, **shape).encode(x, y, color=colour))
    layers.append(_base().mark_point(description=said).encode(x, y, color=colour, tooltip=tips))
    if line is not None:
        limit = _base().mark_rule(strokeDash=[4, 3], aria=False)
        layers.append(limit.encode(y=alt.YDatum(line)))
    return _finished(alt.layer(*layers), title, choice, height=240)


def ranges(
    title: str,
    names: Column,
    low: Column,
    middle: Column,
    high: Column,
    *,
    axis: str,
    more: tuple[Column, ...] = (),
) -> Chart:
    """Horizontal strokes from the lowest to the highest figure, a point at the middle one.

    What `axis` names is drawn; a name of which no figure is known keeps its place, and says so.
    """
    told = (names, low, middle, high, *more)
    tips, said = _tooltips(*told), alt.ExprRef(_said(*told))
    scale = alt.Scale(zero=False)
    ticks = alt.Axis(tickCount=5)
    x = alt.X(field=low.name, type="quantitative", title=axis, axis=ticks, scale=scale)
    bars = _base().mark_bar(description=said, height={"band": 0.4}, color=PALE, invalid="show")
    points = _base().mark_point(description=said, size=70)
    return _finished(
        alt.layer(
            bars.encode(x, _names(names), alt.X2(field=high.name), tooltip=tips),
            points.encode(
                alt.X(field=middle.name, type="quantitative", scale=scale),
                _names(names),
                tooltip=tips,
            ),
            _unknown(middle).encode(_names(names), x=alt.value(0)),
        ),
        title,
        height={"step": _ROW},
    )
