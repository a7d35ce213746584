"""The page of the wearables: how long was who in which gym, and how hard did they train."""

from __future__ import annotations

from collections import Counter

from lakehouse.reading import Ask, Row
from lakehouse.report import charts, words
from lakehouse.report.data import freshness, of_first, period_of, periods, refused, rows_of
from lakehouse.report.parts import EMBEDDED, SHOWN, Block, Choice, Column, Page

KEY, TITLE = "wearables", "Wearables"
HINT = ("lakehouse generate wearables", "lakehouse run", "lakehouse report")
_ALL = "all gyms"
# How many gyms, and workouts, can be chosen.
_GYMS, _WORKOUTS = 30, 200

GYM = Column("gym", "gym")
IN_GYM = Column("minutes_in_gym", "in the gym", "number", "min", 0)
EXERCISING = Column("minutes_exercising", "of it exercising", "number", "min", 0)
VISITS = Column("visits", "visits", "count")
OPEN = Column("open_visits", "without a logout", "count")
RATE = "heart rate (bpm)"
LOW = Column("min_bpm", "lowest", "number", "bpm", 0)
MEAN = Column("avg_bpm", "heart rate, mean", "number", "bpm", 0)
HIGH = Column("max_bpm", "highest", "number", "bpm", 0)
_NOBODY = "not registered"
# A member's number, or that there is none.
_MEMBER = f"case when user_id is null then '{_NOBODY}' else concat('member ', user_id) end"
_SUMS = """
    cast(sum(minutes_in_gym) as double) as minutes_in_gym,
    cast(sum(minutes_exercising) as double) as minutes_exercising,
    cast(sum(visits) as bigint) as visits,
    cast(sum(open_visits) as bigint) as open_visits
"""


def page(ask: Ask) -> Page:
    """The page, from the marts of the wearables."""
    gyms, days, members = _gyms(ask), _days(ask), _members(ask)
    sessions, groups, curve = _sessions(ask), _groups(ask), _curve(ask)
    answers = [block.sentence for block in (gyms, sessions) if block]
    if not answers:
        return Page(KEY, TITLE, ("There is no data of the wearables yet.",), hint=HINT)
    said, reasons = refused(ask, "sbit")
    found = (gyms, days, members, sessions, groups, curve, reasons)
    return Page(
        KEY,
        TITLE,
        tuple(answers),
        blocks=tuple(block for block in found if block),
        freshness=freshness(ask, KEY, newest(ask)),
        refused=said,
    )


def newest(ask: Ask) -> str | None:
    """The latest event that the marts tell of."""
    rows = rows_of(
        ask,
        """
        select max(moment) as newest from (
            select max(ended_at) as moment from gold.workout_bpm_summary
            union all
            select max(greatest(login_at, logout_at)) as moment from gold.gym_visits
        ) as moments
        """,
    )
    return rows[0]["newest"] if rows else None


def _gyms(ask: Ask) -> Block | None:
    rows = rows_of(
        ask,
        f"""
        select
            concat('gym ', gym) as gym, {_SUMS},
            count(distinct user_id) as members,
            min(date) as first_date, max(date) as last_date
        from gold.gym_summary
        group by gym
        order by minutes_in_gym desc nulls last, gym
        """,
    )
    if not rows:
        return None
    [everybody] = rows_of(ask, "select count(distinct user_id) as members from gold.gym_summary")
    members = Column("members", "members", "count")
    chart = charts.ranking(
        "Minutes in the gym; strong: exercising", GYM, IN_GYM, inside=EXERCISING, more=(members,)
    )
    columns = (GYM, members, VISITS, OPEN, IN_GYM, EXERCISING)
    return Block(
        "gyms",
        "By gym",
        gyms_sentence(rows, everybody["members"]),
        columns,
        rows,
        (chart,),
        charted=SHOWN,
        left_out=of_first(len(rows), SHOWN, "gyms"),
    )


def gyms_sentence(rows: list[Row], members: int) -> str:
    """How long who was in the gyms; the rows are of gyms, the busiest first."""
    when = words.days(min(row["first_date"] for row in rows), max(row["last_date"] for row in rows))
    inside = sum(row["minutes_in_gym"] or 0 for row in rows)
    exercising = sum(row["minutes_exercising"] or 0 for row in rows)
    who = words.count(members, "member") if members else "people who are not registered"
    where = rows[0]["gym"] if len(rows) == 1 else words.count(len(rows), "gym")
    if not inside:
        visits = words.count(sum(row["visits"] for row in rows), "visit")
        return f"{words.opening(when)}, {visits} to {where} began, and none of them has ended yet."
    said = (
        f"{words.opening(when)}, {who} spent {words.number(inside)} minutes in {where}, "
        f"exercising for {words.share(exercising / inside)} of them"
    )
    if len(rows) == 1:
        return f"{said}."
    share = words.share((rows[0]["minutes_in_gym"] or 0) / inside)
    return f"{said}; most of it in {rows[0]['gym']} ({share})."


def _days(ask: Ask) -> Block | None:
    """By gym and day, or week where that is too much."""
    unit, period = period_of(ask, "gold.gym_summary")
    rows = rows_of(
        ask,
        f"""
        with ranked as (
            select
                gym,
                row_number() over (order by sum(minutes_in_gym) desc nulls last, gym) as place
            from gold.gym_summary
            group by gym
        ),

        periods as (
            select {period} as period, summary.*, ranked.place
            from gold.gym_summary as summary inner join ranked on summary.gym = ranked.gym
        )

        select '{_ALL}' as gym, period, {_SUMS}, 0 as place
        from periods
        group by period
        union all
        select concat('gym ', gym) as gym, period, {_SUMS}, place
        from periods
        where place <= {_GYMS + 1}
        group by gym, place, period
        order by place, period
        """,
    )
    if not rows:
        return None
    days = periods(unit, rows)
    # Of each all days, so of many years fewer gyms.
    gyms = min(_GYMS, EMBEDDED // len(days) - 1)
    shown = [row for row in rows if row["place"] <= gyms]
    when = Column("period", "day" if unit == "day" else "week from", "date")
    choice = Choice("gym", "Gym", tuple(dict.fromkeys(row["gym"] for row in shown)))
    chart = charts.columns_over_time(
        f"Minutes in the gym by {unit}; strong: exercising",
        when, IN_GYM, inside=EXERCISING, more=(VISITS,), choice=choice,
        days=days,
    )  # fmt: skip
    return Block(
        "days",
        f"By {unit} and gym",
        days_sentence([row for row in rows if row["gym"] == _ALL], unit),
        (when, GYM, VISITS, OPEN, IN_GYM, EXERCISING),
        shown,
        (chart,),
        choice,
        left_out=f"To choose from are the {gyms} busiest gyms; gold.gym_summary has all."
        if len(shown) < len(rows)
        else "",
    )


def days_sentence(rows: list[Row], unit: str) -> str:
    """The busiest of the days, or weeks, of all gyms together."""
    most = max(rows, key=lambda row: row["minutes_in_gym"] or 0)
    if not most["minutes_in_gym"]:
        return "No visit has ended yet."
    if len(rows) == 1:
        minutes = words.number(most["minutes_in_gym"])
        return f"There is one {unit}, {words.day(most['period'])}, with {minutes} minutes."
    name = words.day(most["period"]) if unit == "day" else f"that from {words.day(most['period'])}"
    return (
        f"Of {words.count(len(rows), unit)} the busiest was {name}, "
        f"with {words.number(most['minutes_in_gym'])} minutes."
    )


def _members(ask: Ask) -> Block | None:
    rows = rows_of(
        ask,
        f"""
        select
            {_MEMBER} as member, concat('gym ', gym) as gym,
            concat({_MEMBER}, ', gym ', gym) as who, {_SUMS}, count(*) over () as num_all
        from gold.gym_summary
        group by user_id, gym
        order by minutes_in_gym desc nulls last, user_id nulls last, gym
        limit 5000
        """,
    )
    if not rows:
        return None
    member, who = Column("member", "member"), Column("who", "member and gym")
    chart = charts.ranking(
        "Who was longest in which gym, in minutes; strong: exercising",
        who, IN_GYM, inside=EXERCISING, more=(VISITS,),
    )  # fmt: skip
    return Block(
        "members",
        "By member and gym",
        members_sentence(rows),
        (member, GYM, VISITS, OPEN, IN_GYM, EXERCISING),
        rows,
        (chart,),
        charted=SHOWN,
        left_out=of_first(rows[0]["num_all"], SHOWN, "rows", len(rows)),
    )


def members_sentence(rows: list[Row]) -> str:
    """Who was longest in which gym; the rows have them first."""
    first = rows[0]
    if not first["minutes_in_gym"]:
        return "Nobody's visit has ended yet."
    who = first["member"]
    if who == _NOBODY:
        who = f"somebody who is {who}"
    return (
        f"{words.opening(who)} was longest in a gym: "
        f"{words.number(first['minutes_in_gym'])} minutes in {first['gym']}, "
        f"{words.number(first['minutes_exercising'] or 0)} of them exercising."
    )


def _sessions(ask: Ask) -> Block | None:
    rows = rows_of(
        ask,
        """
        select
            concat('member ', user_id) as member, user_id, workout_id, session_id, started_at,
            ended_at, age, sex, city, state, min_bpm, avg_bpm, max_bpm, num_readings,
            count(*) over () as num_all
        from gold.workout_bpm_summary
        order by started_at desc, user_id, workout_id, session_id
        limit 2000
        """,
    )
    if not rows:
        return None
    begun = Counter(_begun(row) for row in rows)
    rows = [
        row | {"who": _begun(row) if begun[_begun(row)] == 1 else f"{_begun(row)}, {_number(row)}"}
        for row in rows
    ]
    who, age, city = Column("who", "workout"), Column("age", "age"), Column("city", "city")
    readings = Column("num_readings", "readings", "count")
    columns = (
        Column("member", "member"), Column("started_at", "start", "time"), age, city,
        Column("state", "state"), Column("sex", "sex"), LOW, MEAN, HIGH, readings,
        Column("workout_id", "workout"), Column("session_id", "session"),
    )  # fmt: skip
    chart = charts.ranges(
        "Latest workouts, by member and start (UTC): lowest to highest, point: mean",
        who, LOW, MEAN, HIGH, axis=RATE, more=(age, city),
    )  # fmt: skip
    [hardest] = rows_of(
        ask,
        """
        select
            count(*) as workouts, min(date) as first_date, max(date) as last_date
        from gold.workout_bpm_summary
        """,
    )
    top = rows_of(
        ask,
        """
        select user_id, started_at, age, city, avg_bpm, max_bpm
        from gold.workout_bpm_summary
        where avg_bpm is not null
        order by avg_bpm desc, started_at, user_id
        limit 1
        """,
    )
    return Block(
        "workouts",
        "Workouts",
        workouts_sentence(hardest, top),
        columns,
        rows,
        (chart,),
        charted=SHOWN,
        left_out=of_first(rows[0]["num_all"], SHOWN, "workouts", len(rows)),
    )


def _begun(row: Row) -> str:
    """A workout's name that fits beside a chart: whose, and when it began."""
    return f"{row['user_id']}, {words.short_moment(row['started_at'])}"


def _number(row: Row) -> str:
    """What tells two workouts of a member apart that began in one minute."""
    return f"{row['workout_id']}/{row['session_id']}"


def workouts_sentence(all_: Row, top: list[Row]) -> str:
    """How hard they trained.

    Args:
        all_: How many `workouts`, from when to when.
        top: The workout with the highest mean, where any has one.
    """
    when = words.days(all_["first_date"], all_["last_date"])
    said = f"{words.opening(when)}, {words.count(all_['workouts'], 'workout')} ended"
    if not top:
        return f"{said}, without any heart rate."
    [hardest] = top
    who = f"member {hardest['user_id']}"
    known = (text for text in (hardest["age"], hardest["city"]) if text and text != "unknown")
    details = ", ".join(known)
    return (
        f"{said}; the hardest was that of {who}{f' ({details})' if details else ''} with "
        f"{words.number(hardest['avg_bpm'])} bpm on average and {words.number(hardest['max_bpm'])} "
        "at most."
    )


def _groups(ask: Ask) -> Block | None:
    rows = rows_of(
        ask,
        """
        with groups as (
            select
                coalesce(nullif(age, 'unknown'), 'unknown age') as age,
                coalesce(city, 'unknown city') as city,
                min(min_bpm) as min_bpm,
                sum(avg_bpm * num_readings) / sum(num_readings) as avg_bpm,
                max(max_bpm) as max_bpm, count(*) as workouts,
                cast(sum(num_readings) as bigint) as num_readings
            from gold.workout_bpm_summary
            where num_readings > 0
            group by 1, 2
        )

        select *, concat(age, ', ', city) as who
        from groups
        order by avg_bpm desc, age, city
        """,
    )
    if not rows:
        return None
    who, workouts = Column("who", "age and city"), Column("workouts", "workouts", "count")
    chart = charts.ranges(
        "Heart rates by age and city: lowest to highest, point: mean",
        who, LOW, MEAN, HIGH, axis=RATE, more=(workouts,),
    )  # fmt: skip
    return Block(
        "groups",
        "By age and city",
        groups_sentence(rows),
        (Column("age", "age"), Column("city", "city"), workouts, LOW, MEAN, HIGH),
        rows,
        (chart,),
        charted=SHOWN,
        left_out=of_first(len(rows), SHOWN, "groups"),
    )


def groups_sentence(rows: list[Row]) -> str:
    """Who trains hardest and least hard; the rows have the hardest first."""
    first, last = rows[0], rows[-1]
    rate = words.number(first["avg_bpm"])
    if len(rows) == 1:
        return f"All who were measured are {first['age']} and from {first['city']}: {rate} bpm."
    return (
        f"Those of {first['age']} from {first['city']} train hardest, with {rate} bpm on average; "
        f"those of {last['age']} from {last['city']} least, with {words.number(last['avg_bpm'])}."
    )


def _curve(ask: Ask) -> Block | None:
    """The minutes of the latest workouts, as many as a page takes."""
    rows = rows_of(
        ask,
        f"""
        with sessions as (
            select
                summary.user_id, summary.workout_id, summary.session_id,
                max(summary.started_at) as started_at, count(*) as minutes
            from gold.workout_bpm_curve as curve
            inner join gold.workout_bpm_summary as summary
                on curve.user_id = summary.user_id
                and curve.workout_id = summary.workout_id
                and curve.session_id = summary.session_id
            group by summary.user_id, summary.workout_id, summary.session_id
        ),

        ordered as (
            select
                *,
                count(*) over () as num_all,
                row_number() over (
                    order by started_at desc, user_id, workout_id, session_id
                ) as place,
                sum(minutes) over (
                    order by started_at desc, user_id, workout_id, session_id
                    rows between unbounded preceding and current row
                ) as minutes_up_to
            from sessions
        )

        select
            ordered.*, curve.minute, curve.num_readings,
            curve.min_bpm, curve.avg_bpm, curve.max_bpm
        from ordered
        inner join gold.workout_bpm_curve as curve
            on ordered.user_id = curve.user_id
            and ordered.workout_id = curve.workout_id
            and ordered.session_id = curve.session_id
        where place <= {_WORKOUTS} and minutes_up_to <= {EMBEDDED}
        order by place, curve.minute
        """,
    )
    if not rows:
        return None
    num_all = rows[0]["num_all"]
    kept = ("minute", "num_readings", "min_bpm", "avg_bpm", "max_bpm")
    rows = [
        {
            "session": f"member {row['user_id']}, {words.short_moment(row['started_at'])} UTC, "
            f"workout {row['workout_id']}, session {row['session_id']}"
        }
        | {name: row[name] for name in kept}
        for row in rows
    ]
    session = Column("session", "workout")
    minute = Column("minute", "minute of the workout", "count")
    choice = Choice("session", "Workout", tuple(dict.fromkeys(row["session"] for row in rows)))
    chart = charts.line_over_time(
        "Heart rate by minute: mean, and lowest to highest",
        minute, MEAN, band=(LOW, HIGH), choice=choice,
    )  # fmt: skip
    shown = len(choice.options)
    return Block(
        "curve",
        "One workout",
        curve_sentence([row for row in rows if row["session"] == choice.options[0]]),
        (minute, session, Column("num_readings", "readings", "count"), LOW, MEAN, HIGH),
        rows,
        (chart,),
        choice,
        left_out=f"To choose from are the latest {shown} of {words.number(num_all)} workouts with "
        "a heart rate; gold.workout_bpm_curve has all."
        if shown < num_all
        else "",
    )


def curve_sentence(rows: list[Row]) -> str:
    """The latest workout that has minutes; one without a heart rate has none."""
    measured = [row for row in rows if row["avg_bpm"] is not None]
    if not measured:
        return "The latest workout has no heart rate that counts."
    low = min(row["min_bpm"] for row in measured)
    high = max(measured, key=lambda row: row["max_bpm"])
    return (
        f"The latest workout with a heart rate, {rows[0]['session']}: from {words.number(low)} to "
        f"{words.number(high['max_bpm'])} bpm, the highest in minute {high['minute']}."
    )
