"""The page of this moment, for a screen on the wall: what each server carries, what is low.

It reads the live views, which are accepted but not yet tested.
"""

from __future__ import annotations

from lakehouse.reading import Ask, Row
from lakehouse.report import charts, words
from lakehouse.report.data import of_first, rows_of
from lakehouse.report.network import CAPACITY, PLACE, SERVER, overloaded_from
from lakehouse.report.parts import SHOWN, Block, Column, Page
from lakehouse.report.retail import PRODUCT, WAREHOUSE, as_stock, low_sentence

KEY, TITLE = "live", "Now"
HINT = ("lakehouse generate network", "lakehouse run", "lakehouse report --live")


def page(ask: Ask) -> Page:
    """The page, from the live views."""
    found = [one for one in (_servers(ask), _stock(ask)) if one]
    blocks = [block for block, _ in found]
    if not blocks:
        return _without_data(ask)
    # Blocks keep their places on the screen; what is said first is what needs somebody.
    urgent = [block for block in blocks if _is_urgent(block)]
    said = urgent + [block for block in blocks if block not in urgent]
    return Page(
        KEY,
        TITLE,
        tuple(block.sentence for block in said),
        bool(urgent),
        tuple(blocks),
        _as_of(found),
    )


def _without_data(ask: Ask) -> Page:
    """Where nothing has come the page says how data is got, else that a build is awaited."""
    views = ("gold.server_status", "gold.stock_status")
    is_built = any(ask(f"select as_of from {view} limit 1") is not None for view in views)
    sql = "select count(*) as loads from audit.loads where status = 'closed'"
    loads = sum(row["loads"] for row in rows_of(ask, sql))
    if is_built or not loads:
        return Page(KEY, TITLE, ("There is no data of now yet.",), hint=HINT)
    are_in = words.count(loads, "load is in", "loads are in")
    return Page(KEY, TITLE, (f"{are_in}; the first build is not finished yet.",))


def _is_urgent(block: Block) -> bool:
    return any(row["is_urgent"] for row in block.rows)


def _as_of(found: list[tuple[Block, str | None]]) -> str:
    """The moments of the views, each its own: two domains have two clocks."""
    said = [
        f"{block.title}: {words.moment(now, seconds=True) if now else 'no event yet'}"
        for block, now in found
    ]
    return f"{'; '.join(said)}. Accepted, not yet tested."


def _servers(ask: Ask) -> tuple[Block, str | None] | None:
    """The servers, and the moment of their view."""
    rows = rows_of(
        ask,
        """
        select
            concat('server ', server_id) as server, location, devices_connected,
            bandwidth_used_mbps, capacity_mbps, usage_rate, last_event_at,
            coalesce(is_overloaded, false) as is_urgent, max(as_of) over () as now
        from gold.server_status
        order by usage_rate desc nulls last, server_id
        """,
    )
    if not rows:
        return None
    [now] = {row.pop("now") for row in rows}
    use = Column("usage_rate", "capacity in use", "share")
    devices = Column("devices_connected", "devices connected", "count")
    used = Column("bandwidth_used_mbps", "bandwidth in use", "number", "Mbit/s")
    last_event = Column("last_event_at", "last event", "time")
    drawn = (
        charts.ranking(
            "Use of capacity: red is overloaded, the dashed line is the limit",
            SERVER, use, more=(used, CAPACITY, devices), alarm="is_urgent", line=overloaded_from(),
        ),
        charts.ranking("Devices connected", SERVER, devices, more=(use,)),
    )  # fmt: skip
    block = Block(
        "servers",
        "Servers",
        servers_sentence(rows),
        (SERVER, PLACE, use, used, CAPACITY, devices, last_event),
        rows,
        drawn,
        charted=SHOWN,
        left_out=of_first(len(rows), SHOWN, "servers"),
    )
    return block, now


def servers_sentence(rows: list[Row]) -> str:
    """Which servers are overloaded now; the rows have the fullest first."""
    devices = words.count(sum(row["devices_connected"] for row in rows), "device")
    urgent = [row for row in rows if row["is_urgent"]]
    if urgent:
        is_are = "is" if len(urgent) == 1 else "are"
        named = [f"{row['server']} ({words.share(row['usage_rate'])})" for row in urgent]
        return (
            f"{len(urgent)} of {words.count(len(rows), 'server')} {is_are} overloaded: "
            f"{words.listing(named)}; {devices} connected."
        )
    first = rows[0]
    if first["usage_rate"] is None:
        return f"No server's use of its capacity is known; {devices} connected."
    return (
        f"No server is overloaded; the fullest, {first['server']}, uses "
        f"{words.share(first['usage_rate'])} of its capacity; {devices} connected."
    )


def _stock(ask: Ask) -> tuple[Block, str | None] | None:
    """The stock that is low, and the moment of its view."""
    found = rows_of(
        ask,
        """
        with ordered as (
            select
                *,
                count(reorder_point) over () as points,
                count(is_low) over () as stocks,
                max(as_of) over () as now,
                row_number() over (
                    order by
                        coalesce(is_low, false) desc, days_of_cover nulls last, on_hand,
                        product_id, warehouse
                ) as place
            from gold.stock_status
        )

        select
            concat('product ', product_id) as product, warehouse,
            concat('product ', product_id, ', ', warehouse) as stock,
            on_hand, reorder_point, days_of_cover, is_low as is_urgent,
            points, stocks, now
        from ordered
        where is_low or place = 1
        order by place
        """,
    )
    if not found or not found[0]["points"]:
        return None
    stocks, now = found[0]["stocks"], found[0]["now"]
    rows = [as_stock(row) for row in found if row["is_urgent"]]
    on_hand = Column("on_hand", "on hand", "count", "pieces")
    point = Column("reorder_point", "reorder point", "count", "pieces")
    cover = Column("days_of_cover", "lasts", "number", "days")
    drawn = (
        charts.ranking(
            "On hand (bar) against the reorder point (stroke)",
            Column("stock", "product and warehouse"), on_hand, mark=point, more=(cover,),
        ),
    )  # fmt: skip
    block = Block(
        "stock",
        "Low stock",
        low_sentence(rows, stocks),
        (PRODUCT, WAREHOUSE, on_hand, point, cover),
        rows,
        drawn,
        charted=SHOWN,
        left_out=of_first(len(rows), SHOWN, "stocks"),
    )
    return block, now
