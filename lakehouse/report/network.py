"""The network's page: which server must be upgraded, who takes too much, who gets too little."""

from __future__ import annotations

from functools import cache

from lakehouse.reading import Ask, Row
from lakehouse.report import charts, words
from lakehouse.report.data import days_between, freshness, of_first, periods, refused, rows_of
from lakehouse.report.parts import SHOWN, Block, Column, Page
from lakehouse.settings import project_vars

KEY, TITLE = "network", "Network"
HINT = ("lakehouse generate network", "lakehouse run", "lakehouse report")
# How many servers lines are drawn of, and days of customers are summed up.
_LINES, _DAYS = 6, 7
# Weeks are told that begin fewer days before the last one: a year and a week.
_WEEKLY_DAYS = 371
# How many customers charts show.
_TOP = 15
# What the mart says of a server whose capacity is more than it was when it was overloaded.
_RAISED = "the capacity has been raised"

SERVER = Column("server", "server")
PLACE = Column("location", "location")
CAPACITY = Column("capacity_mbps", "capacity", "number", "Mbit/s", 0)
USE = Column("usage_rate_p95", "capacity in use, 95th percentile", "share")
CUSTOMER = Column("customer", "customer")


def page(ask: Ask) -> Page:
    """The page, from the marts of the network."""
    upgrade = _upgrade(ask)
    if upgrade is None:
        return Page(KEY, TITLE, ("There is no data of the network yet.",), hint=HINT)
    heavy, short = _heavy(ask), _short(ask)
    said, reasons = refused(ask, "telecom")
    found = (upgrade, heavy, short, *_over_the_day(ask), _weekly(ask), reasons)
    blocks = tuple(block for block in found if block)
    return Page(
        KEY,
        TITLE,
        (
            upgrade.sentence,
            *upgrade_notes(list(upgrade.rows)),
            *(block.sentence for block in (heavy, short) if block),
        ),
        any(row["is_urgent"] for row in upgrade.rows),
        blocks,
        freshness(ask, KEY, newest(ask)),
        said,
    )


def newest(ask: Ask) -> str | None:
    """The latest event that the marts tell of."""
    rows = rows_of(ask, "select max(last_event_at) as newest from gold.server_load")
    return rows[0]["newest"] if rows else None


@cache
def overloaded_from() -> float:
    """The share of the capacity from which a server is overloaded, as dbt_project.yml has it."""
    return float(project_vars()["network_overloaded_from"])


def _upgrade(ask: Ask) -> Block | None:
    rows = rows_of(
        ask,
        f"""
        select
            server_id, concat('server ', server_id) as server, location, capacity_mbps,
            usage_rate_p95, overloaded_windows, days_overloaded, recommended_capacity_mbps,
            reason, reason like 'overloaded%' as is_urgent,
            reason = '{_RAISED}' as is_raised
        from gold.server_upgrade_candidates
        order by is_urgent desc, usage_rate_p95 desc nulls last, server_id
        """,
    )
    if not rows:
        return None
    columns = (
        SERVER,
        PLACE,
        CAPACITY,
        USE,
        Column("overloaded_windows", "overloaded windows of 5 min", "count"),
        Column("days_overloaded", "days overloaded", "count"),
        Column("recommended_capacity_mbps", "recommended", "number", "Mbit/s", 0),
        Column("reason", "reason"),
    )
    raised = ", pale has been raised already" if any(row["is_raised"] for row in rows) else ""
    chart = charts.ranking(
        f"Use of capacity: red must be upgraded{raised}; the dashed line is the limit",
        SERVER,
        USE,
        more=(PLACE, CAPACITY, columns[6], columns[7]),
        alarm="is_urgent",
        done="is_raised",
        line=overloaded_from(),
    )
    return Block(
        "upgrade",
        "Servers to upgrade",
        upgrade_sentence(rows),
        columns,
        rows,
        (chart,),
        charted=SHOWN,
        left_out=of_first(len(rows), SHOWN, "servers"),
    )


def upgrade_sentence(rows: list[Row]) -> str:
    """Which servers need an upgrade, and to what; the rows have the most urgent first."""
    urgent = [row for row in rows if row["is_urgent"]]
    if not urgent:
        unknown = _unknown(rows)
        if len(unknown) == len(rows):
            return f"No server's use of its capacity is known: {unknown[0]['reason']}."
        known = [row for row in rows if row["usage_rate_p95"] is not None]
        if not known:
            of_those = "of those that can be judged, " if unknown else ""
            return f"No server needs an upgrade: {of_those}none has any traffic."
        first = max(known, key=lambda row: row["usage_rate_p95"])
        return (
            f"No server needs an upgrade; the busiest, {first['server']}, uses "
            f"{words.share(first['usage_rate_p95'])} of its capacity."
        )
    needs = "needs" if len(urgent) == 1 else "need"
    named = words.listing([_needs(row) for row in urgent])
    of = f"{len(urgent)} of {words.count(len(rows), 'server')}"
    return f"{of} {needs} an upgrade: {named}."


def upgrade_notes(rows: list[Row]) -> list[str]:
    """What else is to be known of the servers: which have been raised, which cannot be judged."""
    said = []
    if raised := [row["server"] for row in rows if row["reason"] == _RAISED]:
        has_have = "has" if len(raised) == 1 else "have"
        said.append(f"{words.opening(words.listing(raised))} {has_have} been raised already.")
    unknown = _unknown(rows)
    if unknown and len(unknown) < len(rows):
        said.append(f"Of {words.count(len(unknown), 'server')} the use is not known.")
    return [" ".join(said)] if said else []


def _unknown(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["usage_rate_p95"] is None and row["reason"] != "no traffic"]


def _needs(row: Row) -> str:
    place = f" in {row['location']}" if row["location"] else ""
    goal = row["recommended_capacity_mbps"]
    more = f", raise it to {words.number(goal)} Mbit/s" if goal else ", beyond the largest step"
    return f"{row['server']}{place} ({words.share(row['usage_rate_p95'])} in use{more})"


def _over_the_day(ask: Ask) -> list[Block]:
    """The last 24 hours, all servers together."""
    rows = rows_of(
        ask,
        """
        with latest as (select max(window_start) as last_start from gold.server_load)

        select
            window_start,
            cast(sum(devices_connected) as bigint) as devices,
            sum(bandwidth_used_mbps) as used_mbps,
            sum(capacity_mbps) as capacity_mbps,
            sum(case when is_overloaded then 1 else 0 end) as overloaded
        from gold.server_load cross join latest
        where window_start > last_start - interval 24 hours
        group by window_start
        order by window_start
        """,
    )
    if not rows:
        return []
    rows = [row | {"overloaded": int(row["overloaded"])} for row in rows]
    time = Column("window_start", "time", "time")
    devices = Column("devices", "devices connected", "count")
    used = Column("used_mbps", "bandwidth in use", "number", "Mbit/s")
    overloaded = Column("overloaded", "servers overloaded", "count")
    drawn = (
        charts.line_over_time("Devices connected, by 5 minutes", time, devices),
        charts.line_over_time("Bandwidth in use, by 5 minutes", time, used, more=(overloaded,)),
    )
    columns = (time, devices, used, overloaded)
    block = Block("day", "Over the day", day_sentence(rows), columns, rows, drawn)
    return [block]


def day_sentence(rows: list[Row]) -> str:
    """The busiest moments of the windows."""
    most, widest = (max(rows, key=lambda row: row[name]) for name in ("devices", "used_mbps"))
    first, last = rows[0]["window_start"], rows[-1]["window_start"]
    if first == last:
        return (
            f"On {words.moment(first)}, all servers together had "
            f"{words.count(most['devices'], 'device')} and "
            f"{words.number(most['used_mbps'])} Mbit/s in use."
        )
    return (
        f"In the 24 hours up to {words.moment(last)}, all servers together had at most "
        f"{words.count(most['devices'], 'device')} (at {most['window_start'][11:16]}) and "
        f"{words.number(widest['used_mbps'])} Mbit/s in use (at {widest['window_start'][11:16]})."
    )


def _weekly(ask: Ask) -> Block | None:
    """All weeks of the servers that are fullest in the last one; of the others the last one."""
    rows = rows_of(
        ask,
        f"""
        with latest as (select max(week_start) as last_week from gold.server_weekly),

        ranked as (
            select
                server_id,
                row_number() over (order by usage_rate_p95 desc nulls last, server_id) as place
            from gold.server_weekly cross join latest
            where week_start = last_week
        )

        select
            concat('server ', weekly.server_id) as server, weekly.week_start as period,
            weekly.devices_peak, weekly.devices, weekly.usage_rate_p95, weekly.share_of_time_short,
            weekly.devices_peak_change, weekly.usage_rate_p95_change,
            weekly.share_of_time_short_change, week_start = last_week as is_last
        from gold.server_weekly as weekly cross join latest
        inner join ranked on weekly.server_id = ranked.server_id
        where ranked.place <= {_LINES} and week_start > last_week - interval {_WEEKLY_DAYS} days
        order by weekly.week_start desc, ranked.place
        """,
    )
    if not rows:
        return None
    [known] = rows_of(
        ask,
        """
        select
            count(distinct server_id) as servers,
            min(week_start) as first_week, max(week_start) as last_week
        from gold.server_weekly
        """,
    )
    shown, servers = len({row["server"] for row in rows}), known["servers"]
    week = Column("period", "week from", "date")
    peak = Column("devices_peak", "devices at most", "count")
    short = Column("share_of_time_short", "customers' time short", "share")
    columns = (
        week,
        SERVER,
        peak,
        Column("devices_peak_change", "change", "count"),
        Column("devices", "devices", "count"),
        USE,
        Column("usage_rate_p95_change", "change, points", "share"),
        short,
        Column("share_of_time_short_change", "change, points", "share"),
    )
    weeks = periods("week", rows)
    drawn = (
        charts.line_over_time(
            "Capacity in use, 95th percentile of the week", week, USE, parts=SERVER,
            line=overloaded_from(), days=weeks,
        ),
        charts.line_over_time(
            "Share of customers' time that was short", week, short, parts=SERVER, days=weeks
        ),
    )  # fmt: skip
    left_out = ""
    if shown < servers:
        left_out = (
            f"To see: {words.count(shown, 'server')}, the fullest in the last week, of "
            f"{words.number(servers)}; gold.server_weekly has all, and weeks older than a year."
        )
    elif days_between(known["first_week"], known["last_week"]) >= _WEEKLY_DAYS:
        left_out = "These are the weeks of the last year; gold.server_weekly has all."
    return Block(
        "weekly",
        "Growth by week",
        weekly_sentence(rows),
        columns,
        rows,
        drawn if len(weeks) > 1 else (),  # one week is no line
        left_out=left_out,
    )


def weekly_sentence(rows: list[Row]) -> str:
    """Whether the servers' use grows; the rows are of the fullest servers, the last week first."""
    last = [row for row in rows if row["is_last"]]
    changes = [row for row in last if row["usage_rate_p95_change"] is not None]
    since = f"the week from {words.day(last[0]['period'])}, as far as it has come,"
    if not changes:
        start = words.day(last[0]["period"])
        return f"The week from {start} is these servers' first: it tells of no growth yet."
    grown = [row for row in changes if row["usage_rate_p95_change"] > 0]
    if not grown:
        return f"In {since} none of {words.count(len(changes), 'server')} is fuller than before."
    most = max(grown, key=lambda row: row["usage_rate_p95_change"])
    points = words.number(100 * most["usage_rate_p95_change"], 1)
    is_are = "is" if len(grown) == 1 else "are"
    return (
        f"In {since} {len(grown)} of {words.count(len(changes), 'server')} {is_are} fuller than "
        f"the week before, most of all {most['server']}: by {points} points to "
        f"{words.share(most['usage_rate_p95'])}."
    )


def _heavy(ask: Ask) -> Block | None:
    """By customer and server, the last days: its share, and how often the others were short."""
    rows = rows_of(
        ask,
        f"""
        with latest as (select max(date) as last_date from gold.heavy_users),

        days as (
            select
                users.*,
                -- The mart calls such a one heavy, too, but there is nobody to take from.
                coalesce(share_of_server = 1 and times_median = 1, false) as is_alone,
                sum(gigabytes) over (partition by server_id) as server_gigabytes
            from gold.heavy_users as users cross join latest
            where date > last_date - interval {_DAYS} days
        )

        select
            concat('customer ', customer_id) as customer, concat('server ', server_id) as server,
            concat(
                customer_id, ' on server ', server_id,
                case when min(case when is_alone then 1 else 0 end) = 1 then ', alone' else '' end
            ) as who,
            sum(gigabytes) as gigabytes,
            sum(gigabytes) / nullif(max(server_gigabytes), 0) as share_of_server,
            max(times_median) as times_median,
            cast(sum(case when is_heavy and not is_alone then 1 else 0 end) as bigint)
                as days_heavy,
            cast(sum(case when is_alone then 1 else 0 end) as bigint) as days_alone,
            max(case when is_heavy and not is_alone then 1 else 0 end) = 1 as is_urgent,
            avg(others_share_of_time_short) as others_share_of_time_short,
            min(case when not is_alone then suggested_limit_mbps end) as suggested_limit_mbps,
            count(*) over () as num_all
        from days
        group by customer_id, server_id
        order by is_urgent desc, share_of_server desc nulls last, customer_id, server_id
        limit 1000
        """,
    )
    if not rows:
        return None
    who = Column("who", "customer and server")
    share = Column("share_of_server", "share of the server's bytes", "share")
    others = Column("others_share_of_time_short", "others' time short", "share")
    columns = (
        CUSTOMER,
        SERVER,
        Column("gigabytes", "received", "number", "GB"),
        share,
        Column("times_median", "times the median, at most", "number"),
        Column("days_heavy", "days heavy", "count"),
        Column("days_alone", "days alone on its server", "count"),
        others,
        Column("suggested_limit_mbps", "limit that would do", "number", "Mbit/s"),
    )
    drawn = (
        charts.ranking(
            f"Share of a server's bytes, last {_DAYS} days: red takes far more than its share",
            who, share, more=(columns[2], columns[4], others), alarm="is_urgent",
        ),
        charts.ranking(
            "What it costs: share of the others' time on that server that was short", who, others
        ),
    )  # fmt: skip
    return Block(
        "heavy", "Who takes too much", heavy_sentence(rows), columns, rows, drawn,
        charted=_TOP, left_out=of_first(rows[0]["num_all"], _TOP, "rows", len(rows)),
    )  # fmt: skip


def heavy_sentence(rows: list[Row]) -> str:
    """Who takes far more than a share, and what that costs the others."""
    heavy = [row for row in rows if row["is_urgent"]]
    customers = {row["customer"] for row in heavy}
    if not heavy:
        return f"In the last {_DAYS} days nobody took far more than a share of a server."
    # Who leaves the others enough, or has others who ask for nothing, takes nothing from anybody.
    first = max(
        heavy,
        key=lambda row: (
            row["others_share_of_time_short"] is not None,
            (row["others_share_of_time_short"] or 0) > 0,
            row["share_of_server"] or 0,
        ),
    )
    takes = "takes" if len(customers) == 1 else "take"
    said = (
        f"{words.opening(words.count(len(customers), 'customer'))} {takes} far more than a share, "
        f"above all {first['customer']}: {words.share(first['share_of_server'] or 0)} of all bytes "
        f"of {first['server']}"
    )
    short = first["others_share_of_time_short"]
    if short is None:
        return f"{said}."
    if short == 0:
        return f"{said}; the others there had what they asked for."
    return f"{said}, where the others were short {words.share(short)} of their time."


def _short(ask: Ask) -> Block | None:
    rows = rows_of(
        ask,
        f"""
        with latest as (select max(date) as last_date from gold.subscribed_vs_received)

        select
            concat('customer ', customer_id) as customer,
            max(plan_mbps) as plan_mbps,
            avg(received_p50_mbps) as received_p50_mbps,
            avg(share_of_time_short) as share_of_time_short,
            cast(sum(case when gets_what_was_sold then 1 else 0 end) as bigint) as days_fine,
            cast(sum(case when not gets_what_was_sold then 1 else 0 end) as bigint) as days_short,
            coalesce(
                sum(case when not gets_what_was_sold then 1 else 0 end) > 0, false
            ) as is_urgent,
            count(*) over () as num_all
        from gold.subscribed_vs_received cross join latest
        where date > last_date - interval {_DAYS} days
        group by customer_id
        order by is_urgent desc, share_of_time_short desc nulls last, customer_id
        limit 5000
        """,
    )
    if not rows:
        return None
    plan = Column("plan_mbps", "sold", "number", "Mbit/s", 0)
    received = Column("received_p50_mbps", "received, median", "number", "Mbit/s")
    short = Column("share_of_time_short", "time short", "share")
    columns = (
        CUSTOMER, plan, received, short,
        Column("days_short", "days short", "count"),
        Column("days_fine", "days fine", "count"),
    )  # fmt: skip
    drawn = (
        charts.ranking(
            "Share of the time in which too little came: red does not get what was sold",
            CUSTOMER, short, more=(plan, received), alarm="is_urgent",
        ),
        charts.ranking(
            "Received (bar) against sold (stroke)", CUSTOMER, received, mark=plan, more=(short,)
        ),
    )  # fmt: skip
    return Block(
        "short", "Who gets too little", short_sentence(rows), columns, rows, drawn,
        charted=_TOP, left_out=of_first(rows[0]["num_all"], _TOP, "rows", len(rows)),
    )  # fmt: skip


def short_sentence(rows: list[Row]) -> str:
    """Who does not get what was sold; the rows have those who are short most first."""
    short = [row for row in rows if row["is_urgent"]]
    judged = [row for row in rows if row["days_short"] or row["days_fine"]]
    if not judged:
        return f"In the last {_DAYS} days nobody asked for anything on a plan that is known."
    if not short:
        if len(judged) == 1:
            return f"{words.opening(judged[0]['customer'])} gets what was sold."
        return f"All {words.number(len(judged))} customers get what was sold."
    is_are = "does" if len(short) == 1 else "do"
    first = short[0]
    return (
        f"{len(short)} of {words.count(len(judged), 'customer')} {is_are} not get what was sold, "
        f"least of all {first['customer']}: short {words.share(first['share_of_time_short'])} of "
        "the time."
    )
