"""The shop's full refresh in DuckDB, as `duckdb_pipeline` has the wearables'.

python -m benchmarks.duckdb_retail FOLDER --to DIR

It reads files alone: there is nothing in it of what pulls of a database see.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from benchmarks.duckdb_pipeline import MACROS, fields_of, json_bronze, main, save
from generators.retail.tables import (
    CLICKS,
    CUSTOMERS,
    ORDER_ITEMS,
    ORDERS,
    PRODUCTS,
    REFUNDS,
    STOCK_LEVELS,
    STOCK_MOVEMENTS,
)

CLICK = ("click_id", "session_id", "customer_id", "product_id", "action", "clicked_at")
ENVELOPE = ("key", "value", "topic", "partition", "offset", "timestamp")
STATUSES = ("cancelled", "paid", "placed", "shipped")
REASONS = ("correction", "receipt", "return", "sale", "transfer")
ACTIONS = ("add", "buy", "view")

SHOP_MACROS = r"""
create macro text_of(x) as if(trim(x, ' ') = '', null, x);
create macro word_of(x, words) as
    if(list_contains(words, lower(trim(x, ' '))), lower(trim(x, ' ')), null);
create macro pieces_of(x, least) as if(x between least and 1000000, x, null);
create macro money_of(x) as if(x between 0 and 1000000000, x, null);
create macro has_too_few_digits(x) as
    case
        when contains(lower(x), 'e') then coalesce(
            length(regexp_extract(x, '[.]([0-9]*)[eE]', 1))
            < try_cast(regexp_extract(x, '[eE][+]?([0-9]+)$', 1) as int)
            - if(try_cast(x as double) >= 1e11, 3, 0),
            false
        )
        else false
    end;
create macro told(x) as coalesce(length(x::varchar) || ':' || x::varchar, '-');
"""


class Column(NamedTuple):
    """A column: how it is read, and what is said where there is nothing to read.

    Attributes:
        read: An expression; empty: as it came.
        refused: Refuses the row without a value.
        wrong: Refuses the field where one came that cannot be read.
        is_time: Whether it is a time, which is refused as times are.
    """

    read: str = ""
    refused: str = ""
    wrong: str = ""
    is_time: bool = False


class Table(NamedTuple):
    """A table of the shop's database: key, the other columns, and the one that tells of changes."""

    key: tuple[str, ...]
    columns: Mapping[str, Column]
    changed_at: str = "updated_at"


PRICE = Column("money_of(unit_price)", wrong="unit_price is not a price")
NEEDED = Column(refused="is missing")
NO_PIECES = "is not a number of pieces"
TABLES = {
    CUSTOMERS: Table(
        ("customer_id",),
        {"name": Column(), "email": Column(), "region": Column("text_of(region)")},
    ),
    PRODUCTS: Table(
        ("product_id",),
        {"name": Column(), "category": Column("text_of(category)"), "unit_price": PRICE},
    ),
    ORDERS: Table(
        ("order_id",),
        {
            "customer_id": Column(),
            "status": Column(
                f"word_of(status, {[*STATUSES]})", refused=f"is none of {', '.join(STATUSES)}"
            ),
            "ordered_at": Column(is_time=True),
        },
    ),
    ORDER_ITEMS: Table(
        ("order_id", "line"),
        {
            "product_id": NEEDED,
            "quantity": Column("pieces_of(quantity, 0)", refused=NO_PIECES),
            "unit_price": PRICE,
        },
    ),
    REFUNDS: Table(
        ("refund_id",),
        {
            "order_id": NEEDED,
            "line": NEEDED,
            "quantity": Column("pieces_of(quantity, 0)", wrong=f"quantity {NO_PIECES}"),
            "amount": Column("money_of(amount)", refused="is not an amount of money"),
            "refunded_at": Column(is_time=True),
        },
        "recorded_at",
    ),
    STOCK_LEVELS: Table(
        ("product_id", "warehouse"),
        {
            "reorder_point": Column(
                "pieces_of(reorder_point, 0)", wrong=f"reorder_point {NO_PIECES}"
            )
        },
    ),
    STOCK_MOVEMENTS: Table(
        ("movement_id",),
        {
            "product_id": NEEDED,
            "warehouse": Column("text_of(warehouse)", refused="is missing"),
            "quantity": Column("pieces_of(quantity, -1000000)", refused=NO_PIECES),
            "reason": Column(
                f"word_of(reason, {[*REASONS]})", wrong=f"reason is none of {', '.join(REASONS)}"
            ),
            "moved_at": Column(is_time=True),
        },
        "recorded_at",
    ),
}


def name_of(table: str) -> str:
    """The table's name within the shop."""
    return table.removeprefix("retail.")


def _bronze(files: list[str]) -> str:
    """Parquet as it came; `_op` is there even where no file has it."""
    return f"""
        select *, now()::timestamp as _ingested_at from (select null::varchar as _op where false)
        union all by name
        select *, now()::timestamp as _ingested_at
        from read_parquet({files}, union_by_name = true, filename = '_source_file')
    """


def _staging(table: str) -> str:
    """The rows of a table, typed and judged; of one that is gone the key and the moment count."""
    key, columns, changed_at = TABLES[table]
    read = [f"{column.read} as {name}" for name, column in columns.items() if column.read]
    times = [name for name, column in columns.items() if column.is_time]
    read += [f"({name} at time zone 'UTC') as {name}" for name in (*times, changed_at)]
    refused = [
        f"missing({name}, '{name} {column.refused}')"
        for name, column in columns.items()
        if column.refused
    ]
    refused += [f"time_fault('{name}', {name}, _ingested_at)" for name in times]
    wrong = [
        f"if(_raw.{name} is null, null, missing({name}, '{column.wrong}'))"
        for name, column in columns.items()
        if column.wrong
    ]
    texts = [name for name in key if name == "warehouse"]
    read += [f"text_of({name}) as {name}" for name in texts]
    return f"""
        select
            * exclude (_raw), coalesce(_op = 'delete', false) as is_gone,
            coalesce(
                {", ".join(f"missing({name}, '{name} is missing')" for name in key)},
                if(is_gone, null, coalesce({", ".join([*refused, "null"])})),
                time_fault('{changed_at}', {changed_at}, _ingested_at)
            ) as reject_reason,
            if(is_gone, null, coalesce({", ".join([*wrong, "null"])})) as field_reject_reason,
            if(coalesce(reject_reason, field_reject_reason) is null, null, to_json(_raw)::varchar)
                as raw_text
        from (
            select * replace ({", ".join(read)}), {name_of(table)} as _raw from {name_of(table)}
        )
    """


_STAGING_CLICKS = f"""
    select
        * exclude (fields), integer_of(fields.click_id) as click_id,
        text_of(fields.session_id) as session_id, integer_of(fields.customer_id) as customer_id,
        integer_of(fields.product_id) as product_id, lower(trimmed(fields.action)) as action,
        epoch_to_timestamp(fields.clicked_at) as clicked_at,
        case
            when topic is null and try(json_type(_raw)) is distinct from 'OBJECT'
                and _raw is not null then 'the line is not one JSON object'
            when topic is null then 'topic is missing'
            when topic <> 'clicks' then 'the topic is unknown'
            when value is null then 'value is null'
            when fields is null then 'value is not one JSON object'
        end as fault,
        coalesce(
            fault, not_whole('click_id', click_id), missing(session_id, 'session_id is missing'),
            not_whole('product_id', product_id),
            if(action in {ACTIONS}, null, 'action is none of {", ".join(ACTIONS)}'),
            if(has_too_few_digits(fields.clicked_at), 'clicked_at has too few digits', null),
            time_fault('clicked_at', clicked_at, _ingested_at)
        ) as reject_reason,
        coalesce(
            if(_raw is null, null, 'something is missing'),
            if(fields.customer_id is null, null, not_whole('customer_id', customer_id))
        ) as field_reject_reason,
        coalesce(_raw, value) as raw_text
    from (select *, {fields_of("value", *CLICK)} as fields from clicks)
"""
STAGING = {name_of(table): _staging(table) for table in TABLES} | {"clicks": _STAGING_CLICKS}


def _rejects(entity: str) -> str:
    columns = f"raw_text, _source_file from stg_{entity} where"
    return f"""
        select '{entity}' as entity, 'row' as level, reject_reason as reason, {columns}
            reject_reason is not null
        union all
        select '{entity}' as entity, 'field' as level, field_reject_reason as reason, {columns}
            reject_reason is null and field_reject_reason is not null
    """


def _delivered(table: str) -> str:
    """What was told, each once, and its digest."""
    key, columns, changed_at = TABLES[table]
    kept = [*key, *columns]
    as_text = [
        f"told(epoch_us({name}))" if name in columns and columns[name].is_time else f"told({name})"
        for name in kept
    ]
    return f"""
        select
            *, if(is_gone, '', sha256(concat_ws(',', {", ".join(as_text)}))) as digest
        from (
            select distinct {", ".join([*kept, changed_at])}, is_gone
            from stg_{name_of(table)} where reject_reason is null
        )
    """


def _present(table: str) -> str:
    """The last that was told of each key, but of those that are gone."""
    key, _, changed_at = TABLES[table]
    return f"""
        select * exclude (digest, is_gone) from (
            from int_{name_of(table)}_delivered
            qualify row_number() over (
                partition by {", ".join(key)} order by {changed_at} desc, is_gone desc, digest
            ) = 1
        ) where not is_gone
    """


def _versions(table: str) -> str:
    """What holds from when to when; of what is gone nothing."""
    key, columns, changed_at = TABLES[table]
    names, keys = [*columns], ", ".join(key)
    told = ", ".join(f"if(is_gone, null, {name}) as {name}" for name in names)
    return f"""
        select
            {keys}, {told}, is_gone, {changed_at} as valid_from,
            row_number() over versions = 1 as is_first,
            if(is_first, beginning_of_time(), valid_from) as applies_from,
            coalesce(lead({changed_at}) over versions, end_of_time()) as valid_to
        from (
            from int_{name_of(table)}_delivered
            qualify row_number() over (
                partition by {keys}, {changed_at} order by is_gone desc, digest
            ) = 1
        )
        window versions as (partition by {keys} order by {changed_at})
    """


_KEPT = (ORDERS, ORDER_ITEMS, REFUNDS, STOCK_MOVEMENTS)
_CLICK_TOLD = ", ".join(f"told({name})" for name in CLICK[:-1])
SILVER = {
    "int_rejects": " union all ".join(map(_rejects, STAGING)),
    **{f"int_{name_of(table)}_delivered": _delivered(table) for table in TABLES},
    **{f"int_{name_of(table)}": _present(table) for table in _KEPT},
    **{
        f"int_{name_of(table)}_versions": _versions(table)
        for table in (CUSTOMERS, PRODUCTS, STOCK_LEVELS)
    },
    "int_clicks": f"select distinct {', '.join(CLICK)} from stg_clicks where reject_reason is null",
    "int_session_days": f"""
        with counted as (
            from int_clicks qualify row_number() over (
                partition by click_id
                order by clicked_at, sha256(
                    concat_ws(',', {_CLICK_TOLD}, told(epoch_us(clicked_at)))
                )
            ) = 1
        ), days as (
            select
                session_id, product_id, cast(clicked_at as date) as date,
                count(*) filter (where action = 'view') as views,
                count(*) filter (where action = 'add') as adds,
                count(*) filter (where action = 'buy') as buys
            from counted group by session_id, product_id, date
        )
        select *, sum(buys) over (partition by session_id, product_id) > 0 as has_bought from days
    """,
    "int_order_lines": """
        select
            items.order_id, items.line, orders.customer_id, items.product_id,
            cast(ordered_at as date) as date, coalesce(region, 'unknown') as region,
            coalesce(category, 'unknown') as category, items.quantity,
            coalesce(items.unit_price, products.unit_price) as price,
            cast(items.quantity * coalesce(price, 0) as decimal(18, 2)) as gross_sales,
            price is not null as is_priced
        from int_order_items as items
        inner join int_orders as orders on items.order_id = orders.order_id
        left join int_customers_versions as customers
            on
                orders.customer_id = customers.customer_id
                and ordered_at >= customers.applies_from and ordered_at < customers.valid_to
        left join int_products_versions as products
            on
                items.product_id = products.product_id
                and ordered_at >= products.applies_from and ordered_at < products.valid_to
        where status <> 'cancelled'
    """,
    "int_refunds_counted": """
        select
            refund_id, order_id, line, customer_id, product_id, region, category, amount,
            cast(refunded_at as date) as date
        from int_refunds inner join (
            select order_id, line, customer_id, product_id, region, category from int_order_lines
        ) using (order_id, line)
    """,
    "int_customer_values": """
        with ordered as (
            select
                customer_id, if(status <> 'cancelled', cast(ordered_at as date), null) as counted_on
            from int_orders where customer_id is not null
        ), sums as (
            select customer_id, gross_sales as amount from int_order_lines
            union all
            select customer_id, -amount from int_refunds_counted
        )
        select
            customer_id, frequency, order_days, first_ordered_on, last_ordered_on,
            cast(coalesce(amount, 0) as decimal(18, 2)) as monetary
        from (
            select
                customer_id, count(counted_on) as frequency,
                count(distinct counted_on) as order_days, min(counted_on) as first_ordered_on,
                max(counted_on) as last_ordered_on
            from ordered group by customer_id
        ) left join (
            select customer_id, sum(amount) as amount from sums group by customer_id
        ) using (customer_id)
    """,
    "int_stock_days": """
        select
            product_id, warehouse, cast(moved_at as date) as date,
            cast(sum(greatest(quantity, 0)) as bigint) as received,
            cast(sum(greatest(-quantity, 0)) as bigint) as issued,
            cast(sum(if(reason = 'sale', greatest(-quantity, 0), 0)) as bigint) as sold
        from int_stock_movements group by product_id, warehouse, date
    """,
    "int_stock_lows": """
        with moved as (
            select product_id, warehouse, moved_at as moment, sum(quantity) as quantity
            from int_stock_movements group by product_id, warehouse, moment
        ), points as (
            select product_id, warehouse, valid_from as moment, {'is': reorder_point} as point
            from int_stock_levels_versions
        ), known as (
            select
                product_id, warehouse, moment,
                cast(sum(quantity) over instants as bigint) as on_hand,
                (last_value(point ignore nulls) over instants)['is'] as reorder_point,
                coalesce(on_hand <= reorder_point, false) as is_low
            from moved full join points using (product_id, warehouse, moment)
            window instants as (partition by product_id, warehouse order by moment)
        ), edges as (
            from known
            qualify is_low <> lag(is_low, 1, false) over (
                partition by product_id, warehouse order by moment
            )
        )
        select product_id, warehouse, moment as opened_at, on_hand, reorder_point, closed_at
        from (
            select *, lead(moment) over instants as closed_at from edges
            window instants as (partition by product_id, warehouse order by moment)
        ) where is_low
    """,
}

GOLD = {
    "sales_by_region_product": """
        select
            date, region, product_id, category, count(distinct order_id) as orders,
            cast(sum(quantity) as bigint) as units,
            cast(sum(gross_sales) as decimal(18, 2)) as gross_sales,
            cast(sum(amount) as decimal(18, 2)) as refunds,
            cast(sum(gross_sales - amount) as decimal(18, 2)) as net_sales,
            count(*) filter (where not is_priced) as lines_without_price
        from (
            select
                date, region, product_id, category, order_id, quantity, gross_sales, 0 as amount,
                is_priced
            from int_order_lines
            union all
            select date, region, product_id, category, null, 0, 0, amount, true
            from int_refunds_counted
        )
        group by date, region, product_id, category
    """,
    "customer_segments": """
        with as_of as (
            select cast(max(moment) as date) as today from (
                select max(ordered_at) as moment from int_orders_delivered where not is_gone
                union all
                select max(refunded_at) from int_refunds_delivered where not is_gone
                union all
                select max(moved_at) from int_stock_movements_delivered where not is_gone
                union all
                select max(clicked_at) from int_clicks
            )
        ), known as (
            select customer_id from int_customer_values
            union
            select customer_id from int_customers_versions
            where valid_to = end_of_time() and not is_gone
        ), compared as (
            select
                *, date_diff('day', last_ordered_on, today) as recency_days,
                greatest(count(*) over () - 1, 1) as others,
                least(5, 1 + 5 * (rank() over (order by recency_days desc) - 1) // others) as r,
                least(5, 1 + 5 * (rank() over (order by frequency) - 1) // others) as f,
                least(5, 1 + 5 * (rank() over (order by monetary) - 1) // others) as m
            from int_customer_values, as_of where frequency > 0
        )
        select
            known.customer_id, recency_days, frequency, monetary, r, f, m,
            if(compared.customer_id is null, 'no orders', segment) as segment, order_days,
            first_ordered_on
        from known
        left join compared using (customer_id)
        left join rfm_segments
            on r between r_from and r_to and f between f_from and f_to and m between m_from and m_to
    """,
    "inventory_alerts": """
        select
            lows.product_id, lows.warehouse, opened_at, on_hand, reorder_point, closed_at,
            cast(on_hand * 28 as double) / nullif(sum(sold), 0) as days_of_cover
        from int_stock_lows as lows
        left join int_stock_days as days
            on
                lows.product_id = days.product_id and lows.warehouse = days.warehouse
                and date < cast(opened_at as date)
                and date >= cast(opened_at as date) - interval 28 day
        group by
            lows.product_id, lows.warehouse, opened_at, on_hand, reorder_point, closed_at
    """,
    "inventory_daily": """
        select
            product_id, warehouse, date, closing - received + issued as opening, received, issued,
            sold, closing
        from (
            select
                *, cast(
                    sum(received - issued) over (
                        partition by product_id, warehouse order by date
                    ) as bigint
                ) as closing
            from int_stock_days
        )
    """,
    "product_conversion": """
        select
            product_id, date, cast(sum(views) as bigint) as views,
            cast(sum(adds) as bigint) as adds, cast(sum(buys) as bigint) as buys,
            cast(count(*) filter (where views > 0 and has_bought) as double)
                / nullif(count(*) filter (where views > 0), 0) as conversion_rate
        from int_session_days group by product_id, date
    """,
}


def run(folder: Path, seeds: Path, to: Path) -> dict[str, pa.Table]:
    """Runs the pipeline from files to gold, as `duckdb_pipeline.run` does."""
    files = {
        table: sorted(str(path) for path in (folder / table).rglob("*") if path.is_file())
        for table in (*TABLES, CLICKS)
    }
    db = duckdb.connect()
    db.execute("set timezone = 'UTC'; set preserve_insertion_order = false")
    db.execute(MACROS + SHOP_MACROS)
    db.execute(f"create table rfm_segments as from '{seeds / 'retail' / 'rfm_segments.csv'}'")
    bronze = {name_of(table): _bronze(files[table]) for table in TABLES}
    save(db, to / "bronze", bronze | {"clicks": json_bronze(files[CLICKS])})
    for name, sql in STAGING.items():
        db.execute(f"create table stg_{name} as {sql}")
    save(db, to / "silver", SILVER)
    save(db, to / "gold", GOLD)
    return {mart: db.table(mart).to_arrow_table() for mart in GOLD}


if __name__ == "__main__":
    main(run, __doc__)
