"""The shop's page: what sells, who buys, what runs out."""

from __future__ import annotations

from lakehouse.alerts import as_read
from lakehouse.reading import Ask, Row
from lakehouse.report import charts, words
from lakehouse.report.data import (
    days_between,
    freshness,
    of_first,
    period_of,
    periods,
    refused,
    rows_of,
)
from lakehouse.report.parts import EMBEDDED, SHOWN, Block, Choice, Column, Page

KEY, TITLE = "retail", "Retail"
HINT = ("lakehouse generate retail", "lakehouse run", "lakehouse report")
# How many regions have a colour of their own, days count as the last ones, stocks can be chosen.
_REGIONS, _DAYS, _STOCKS = 5, 28, 40
# How many products charts show, and days of a stock.
_TOP, _STOCK_DAYS = 15, 120
_REST = "other regions"

PRODUCT = Column("product", "product")
CATEGORY = Column("category", "category")
NET = Column("net_sales", "net sales", "number", digits=2)
GROSS = Column("gross_sales", "gross sales", "number", digits=2)
REFUNDS = Column("refunds", "refunds", "number", digits=2)
UNITS = Column("units", "units", "count")
WAREHOUSE = Column("warehouse", "warehouse")
_SUMS = """
    cast(sum(units) as bigint) as units,
    cast(sum(gross_sales) as double) as gross_sales,
    cast(sum(refunds) as double) as refunds,
    cast(sum(net_sales) as double) as net_sales
"""


def page(ask: Ask) -> Page:
    """The page, from the marts of the shop."""
    (low, now), sales, products = _low(ask), _sales(ask), _products(ask)
    segments, conversion, stock = _segments(ask), _conversion(ask), _stock(ask)
    if not any((low, sales, segments, conversion, stock)):
        return Page(KEY, TITLE, ("There is no data of the shop yet.",), hint=HINT)
    said, reasons = refused(ask, "retail")
    found = (low, products, sales, stock, segments, conversion, reasons)
    return Page(
        KEY,
        TITLE,
        tuple(block.sentence for block in (low, products) if block),
        bool(low and low.rows),
        tuple(block for block in found if block),
        f"{freshness(ask, KEY)}{_live(now)} Amounts are in the shop's own currency.",
        said,
    )


def _live(now: str | None) -> str:
    """How fresh the stock is, which comes from a live view and runs ahead of what is published."""
    return f" Stock as of {words.moment(now)}, accepted, not yet tested." if now else ""


def _low(ask: Ask) -> tuple[Block | None, str | None]:
    """Open alerts, with the stock of now, and its moment; the live view is asked once."""
    found = rows_of(
        ask,
        """
        with open_alerts as (select * from gold.inventory_alerts where closed_at is null),

        stocks as (
            select
                coalesce(alerts.product_id, status.product_id) as product_id,
                coalesce(alerts.warehouse, status.warehouse) as warehouse,
                coalesce(status.on_hand, alerts.on_hand) as on_hand,
                coalesce(status.reorder_point, alerts.reorder_point) as reorder_point,
                coalesce(status.days_of_cover, alerts.days_of_cover) as days_of_cover,
                alerts.opened_at,
                count(status.reorder_point) over () as points,
                count(status.is_low) over () as stocks,
                max(status.as_of) over () as now
            from gold.stock_status as status
            full outer join open_alerts as alerts
                on status.product_id = alerts.product_id and status.warehouse = alerts.warehouse
        ),

        ordered as (
            select
                *,
                row_number() over (
                    order by
                        opened_at is null, days_of_cover nulls last, on_hand, product_id, warehouse
                ) as place
            from stocks
        )

        select
            concat('product ', product_id) as product, warehouse,
            concat('product ', product_id, ', ', warehouse) as stock,
            on_hand, reorder_point, days_of_cover, opened_at, points, stocks, now
        from ordered
        where opened_at is not null or place = 1
        order by place
        """,
    )
    if not found:
        return None, None
    points, stocks, now = (found[0][name] for name in ("points", "stocks", "now"))
    rows = [as_stock(row) for row in found if row["opened_at"]]
    if not (rows or points):
        return None, now
    stock = Column("stock", "product and warehouse")
    on_hand = Column("on_hand", "on hand", "count", "pieces")
    point = Column("reorder_point", "reorder point", "count", "pieces")
    cover = Column("days_of_cover", "lasts", "number", "days")
    drawn = (
        charts.ranking(
            "On hand (bar) against the reorder point (stroke)", stock, on_hand, mark=point,
            more=(cover,),
        ),
    )  # fmt: skip
    block = Block(
        "low",
        "What runs out",
        low_sentence(rows, stocks),
        (PRODUCT, WAREHOUSE, on_hand, point, cover, Column("opened_at", "low since", "time")),
        rows,
        drawn if rows else (),
        charted=SHOWN,
        left_out=of_first(len(rows), SHOWN, "stocks"),
    )
    return block, now


def as_stock(row: Row) -> Row:
    """A stock for people, without what a question says beside each of all stocks."""
    of_all = ("points", "stocks", "now")
    return as_read({name: value for name, value in row.items() if name not in of_all})


def low_sentence(rows: list[Row], stocks: int) -> str:
    """What is to be ordered; the rows have what runs out first.

    Args:
        rows: Stocks that are low.
        stocks: Of how many it is known whether they are.
    """
    if not (rows or stocks):
        return "What runs out is not known: no stock has both a movement and a reorder point."
    if not rows:
        return f"Nothing runs out: none of {_stocks(stocks)} is low."
    is_are = "is" if len(rows) == 1 else "are"
    of = f"{len(rows)} of {_stocks(max(stocks, len(rows)))}"
    return f"{of} {is_are} low: {words.listing([_left(row) for row in rows])}."


def _stocks(many: int) -> str:
    return words.count(many, "stock with a reorder point", "stocks with a reorder point")


def _left(row: Row) -> str:
    left = "none left" if row["on_hand"] == 0 else f"{words.number(row['on_hand'])} left"
    if row["on_hand"] < 0:
        left = f"oversold by {words.number(-row['on_hand'])}"
    days = row["days_of_cover"]
    lasts = f", lasts {words.number(days, 1)} days" if days and row["on_hand"] > 0 else ""
    return f"{row['product']} in {row['warehouse']} ({left}{lasts})"


def _sales(ask: Ask) -> Block | None:
    """By region and day, or week where that is too much; small regions together."""
    unit, period = period_of(ask, "gold.sales_by_region_product")
    rows = rows_of(
        ask,
        f"""
        with ranked as (
            select region, row_number() over (order by sum(net_sales) desc, region) as place
            from gold.sales_by_region_product
            group by region
        ),

        named as (
            select
                {period} as period, date,
                case when place <= {_REGIONS} then sales.region else '{_REST}' end as area,
                least(place, {_REGIONS + 1}) as place,
                units, gross_sales, refunds, net_sales
            from gold.sales_by_region_product as sales
            inner join ranked on sales.region = ranked.region
        )

        select
            area as region, place, period, min(date) as first_date, max(date) as last_date, {_SUMS}
        from named
        group by area, place, period
        order by period, place
        """,
    )
    if not rows:
        return None
    when = Column("period", "day" if unit == "day" else "week from", "date")
    region = Column("region", "region")
    chart = charts.columns_over_time(
        f"Net sales by {unit} and region",
        when,
        NET,
        parts=region,
        more=(UNITS,),
        days=periods(unit, rows),
        order=tuple(dict.fromkeys(row["region"] for row in sorted(rows, key=_place))),
    )
    return Block(
        "sales",
        f"Sales by region and {unit}",
        sales_sentence(rows),
        (when, region, UNITS, GROSS, REFUNDS, NET),
        rows,
        (chart,),
    )


def _place(row: Row) -> int:
    place: int = row["place"]
    return place


def sales_sentence(rows: list[Row]) -> str:
    """What was sold in all, and where most of it."""
    when = words.days(min(row["first_date"] for row in rows), max(row["last_date"] for row in rows))
    net = sum(row["net_sales"] for row in rows)
    gross = sum(row["gross_sales"] for row in rows)
    given_back = sum(row["refunds"] for row in rows)
    said = f"{words.opening(when)}, sales came to {words.number(net, 2)} net"
    if gross > 0 and given_back > 0:
        said += f", after {words.share(given_back / gross)} was given back"
    regions: dict[str, float] = {}
    for row in rows:
        regions[row["region"]] = regions.get(row["region"], 0) + row["net_sales"]
    if len(regions) == 1 or net <= 0:
        return f"{said}."
    named = [region for region in regions if region != _REST]
    first = max(named, key=lambda region: regions[region])
    return f"{said}; most in {first} ({words.share(regions[first] / net)})."


def _products(ask: Ask) -> Block | None:
    """What sold in the last days, against as many days before."""
    rows = rows_of(
        ask,
        f"""
        with latest as (select max(date) as last_date from gold.sales_by_region_product),

        recent as (
            select
                sales.*, last_date, date > last_date - interval {_DAYS} days as is_recent
            from gold.sales_by_region_product as sales cross join latest
            where date > last_date - interval {2 * _DAYS} days
        )

        select
            concat('product ', product_id) as product, category,
            concat('product ', product_id, ', ', category) as what,
            cast(sum(case when is_recent then units else 0 end) as bigint) as units,
            cast(sum(case when is_recent then gross_sales else 0 end) as double) as gross_sales,
            cast(sum(case when is_recent then refunds else 0 end) as double) as refunds,
            cast(sum(case when is_recent then net_sales else 0 end) as double) as net_sales,
            cast(sum(case when is_recent then 0 else net_sales end) as double) as net_before,
            max(last_date) as last_date
        from recent
        group by product_id, category
        order by net_sales desc, units desc, product_id, category
        """,
    )
    if not rows:
        return None
    sold = [row for row in rows if row["units"] or row["refunds"]]
    before = Column("net_before", f"net, {_DAYS} days before", "number", digits=2)
    chart = charts.ranking(
        f"Net sales of the last {_DAYS} days (bar) against the {_DAYS} before (stroke)",
        Column("what", "product"), NET, mark=before, more=(UNITS,),
    )  # fmt: skip
    [span] = rows_of(ask, "select min(date) as first_date from gold.sales_by_region_product")
    return Block(
        "products",
        "What sells",
        products_sentence(
            rows, is_whole=days_between(span["first_date"], rows[0]["last_date"]) >= 2 * _DAYS - 1
        ),
        (PRODUCT, CATEGORY, UNITS, GROSS, REFUNDS, NET, before),
        sold,
        (chart,),
        charted=_TOP,
        left_out=of_first(len(sold), _TOP, "products"),
    )


def products_sentence(rows: list[Row], *, is_whole: bool) -> str:
    """What sells in the last days; the rows have what sells most first.

    Args:
        rows: Products of these days and as many before.
        is_whole: Whether there is data of all days before.
    """
    net = sum(row["net_sales"] for row in rows)
    before = sum(row["net_before"] for row in rows)
    said = (
        f"In the {_DAYS} days up to {words.day(rows[0]['last_date'])}, sales came to "
        f"{words.number(net, 2)} net"
    )
    if is_whole and before > 0:
        change = net / before - 1
        than = "more" if change >= 0 else "less"
        said += f", {words.share(abs(change))} {than} than in the {_DAYS} before"
    first = rows[0]
    if first["net_sales"] <= 0:
        return f"{said}."
    return (
        f"{said}; {first['product']} ({first['category']}) sells best: "
        f"{words.number(first['net_sales'], 2)}."
    )


def _segments(ask: Ask) -> Block | None:
    rows = rows_of(
        ask,
        """
        select
            segment, count(*) as customers,
            coalesce(cast(sum(monetary) as double), 0) as monetary,
            avg(recency_days) as recency_days, avg(frequency) as frequency
        from gold.customer_segments
        group by segment
        order by monetary desc, customers desc, segment
        """,
    )
    if not rows:
        return None
    segment, customers = Column("segment", "segment"), Column("customers", "customers", "count")
    money = Column("monetary", "net sales of all time", "number", digits=2)
    drawn = (
        charts.ranking("Net sales by segment", segment, money, more=(customers,)),
        charts.ranking("Customers by segment", segment, customers, more=(money,)),
    )
    columns = (
        segment, customers, money, Column("frequency", "orders, mean", "number"),
        Column("recency_days", "days since the last order, mean", "number", "days", 0),
    )  # fmt: skip
    return Block("segments", "Customers", segments_sentence(rows), columns, rows, drawn)


def segments_sentence(rows: list[Row]) -> str:
    """Which customers matter; the rows are segments, that with most money first."""
    customers = sum(row["customers"] for row in rows)
    money = sum(row["monetary"] for row in rows)
    first = rows[0]
    if money <= 0:
        return f"{words.opening(words.count(customers, 'customer'))}, and no net sales yet."
    return (
        f"{words.share(first['monetary'] / money)} of all net sales come from "
        f"{words.count(first['customers'], 'customer')} of the segment {first['segment']}, "
        f"{words.share(first['customers'] / customers)} of all."
    )


def _stock(ask: Ask) -> Block | None:
    """The stock by day, of what is low first, then of what sells most."""
    rows = rows_of(
        ask,
        f"""
        with latest as (select max(date) as last_date from gold.inventory_daily),

        recent as (
            select daily.*
            from gold.inventory_daily as daily cross join latest
            where date > last_date - interval {_STOCK_DAYS} days
        ),

        low as (
            select product_id, warehouse from gold.inventory_alerts where closed_at is null
        ),

        ranked as (
            select
                recent.product_id, recent.warehouse,
                row_number() over (
                    order by
                        count(low.product_id) = 0, sum(recent.sold) desc,
                        recent.product_id, recent.warehouse
                ) as place
            from recent
            left join low
                on recent.product_id = low.product_id and recent.warehouse = low.warehouse
            group by recent.product_id, recent.warehouse
        )

        select
            concat('product ', recent.product_id, ', ', recent.warehouse) as stock, recent.date,
            recent.opening, recent.received, recent.issued, recent.sold, recent.closing
        from recent
        inner join ranked
            on recent.product_id = ranked.product_id and recent.warehouse = ranked.warehouse
        where ranked.place <= {_STOCKS}
        order by ranked.place, recent.date
        limit {EMBEDDED}
        """,
    )
    if not rows:
        return None
    [all_] = rows_of(
        ask,
        """
        select
            count(distinct concat(product_id, ', ', warehouse)) as stocks,
            min(date) as first_date, max(date) as last_date
        from gold.inventory_daily
        """,
    )
    totals = rows_of(
        ask,
        """
        select
            date, cast(sum(received) as bigint) as received, cast(sum(issued) as bigint) as issued,
            cast(sum(sold) as bigint) as sold
        from gold.inventory_daily
        group by date
        order by date desc
        limit 1
        """,
    )
    when, stock = Column("date", "day", "date"), Column("stock", "product and warehouse")
    closing = Column("closing", "stock at the day's end", "count", "pieces")
    flows = (
        Column("opening", "at its beginning", "count"), Column("received", "received", "count"),
        Column("issued", "left", "count"), Column("sold", "of these sold", "count"),
    )  # fmt: skip
    choice = Choice("stock", "Stock", tuple(dict.fromkeys(row["stock"] for row in rows)))
    chart = charts.line_over_time(
        "Stock at the end of the days with a movement", when, closing, more=flows[1:],
        choice=choice, step=True,
    )  # fmt: skip
    left_out = ""
    if len(choice.options) < all_["stocks"]:
        left_out = (
            f"To choose from are {len(choice.options)} of {words.number(all_['stocks'])} "
            "stocks, the low ones first, then those that sell most, of the last "
            f"{_STOCK_DAYS} days; gold.inventory_daily has all."
        )
    elif days_between(all_["first_date"], all_["last_date"]) >= _STOCK_DAYS:
        left_out = f"These are the last {_STOCK_DAYS} days; gold.inventory_daily has all."
    return Block(
        "stock", "Stock by day", stock_sentence(totals[0]), (when, stock, *flows, closing),
        rows, (chart,), choice, left_out,
    )  # fmt: skip


def stock_sentence(last: Row) -> str:
    """What came and went on the last day."""
    said = (
        f"On {words.day(last['date'])}, the last day with a movement, "
        f"{words.count(last['received'], 'piece')} came in and "
    )
    if not last["issued"]:
        return f"{said}none left."
    sold = words.number(last["sold"]) if last["sold"] else "none"
    return f"{said}{words.number(last['issued'])} left, {sold} of them sold."


def _conversion(ask: Ask) -> Block | None:
    rows = rows_of(
        ask,
        f"""
        with latest as (select max(date) as last_date from gold.product_conversion)

        select
            concat('product ', product_id) as product,
            cast(sum(views) as bigint) as views, cast(sum(adds) as bigint) as adds,
            cast(sum(buys) as bigint) as buys,
            sum(conversion_rate * views)
            / nullif(sum(case when conversion_rate is not null then views else 0 end), 0)
                as conversion_rate
        from gold.product_conversion cross join latest
        where date > last_date - interval {_DAYS} days
        group by product_id
        order by views desc, product_id
        """,
    )
    if not rows:
        return None
    rate = Column("conversion_rate", "sessions that bought, of those that looked", "share")
    views, buys = Column("views", "views", "count"), Column("buys", "purchases", "count")
    drawn = (
        charts.ranking(
            f"Most looked at in the last {_DAYS} days", PRODUCT, views, more=(buys, rate)
        ),
        charts.ranking(
            "How many of those who looked bought", PRODUCT, rate, more=(views, buys)
        ),
    )  # fmt: skip
    return Block(
        "conversion",
        "Who looks and buys",
        conversion_sentence(rows),
        (PRODUCT, views, Column("adds", "put into a cart", "count"), buys, rate),
        rows,
        drawn,
        charted=_TOP,
        left_out=of_first(len(rows), _TOP, "products")
        + " The share is the mean of the days, each counted by its views.",
    )


def conversion_sentence(rows: list[Row]) -> str:
    """How many of those who look buy; the rows have what is looked at most first."""
    rated = [row for row in rows if row["conversion_rate"] is not None]
    if not rated:
        return f"In the last {_DAYS} days nobody looked at a product."
    views = sum(row["views"] for row in rated)
    all_ = sum(row["conversion_rate"] * row["views"] for row in rated) / views
    said = f"In the last {_DAYS} days {words.share(all_, 1)} of those who looked bought"
    if len(rated) == 1:
        return f"{said}: there is {rated[0]['product']} alone."
    busy = rated[:_TOP]
    best = max(busy, key=lambda row: row["conversion_rate"])
    worst = min(busy, key=lambda row: row["conversion_rate"])
    high, low = (words.share(row["conversion_rate"], 1) for row in (best, worst))
    if high == low:
        return f"{said}; the {len(busy)} products most looked at do not differ."
    return (
        f"{said}; of the {len(busy)} products most looked at {best['product']} does best "
        f"({high}), {worst['product']} worst ({low})."
    )
