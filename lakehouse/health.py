"""The health of a lakehouse: is it right, is it fresh, is it getting slower.

    audit.run_results   what dbt told of each node: tests, seconds
    audit.loads         what came, and when            --Health--> rows, and a sentence each
    audit.rejects, audit.unmatched
    Delta's logs        what each table holds, and has held

A question is plain SQL, which Spark and DuckDB both run; a sentence hangs on its rows alone.
Moments are text in UTC, as `lakehouse.reading.rows_of` has them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import yaml

from lakehouse.domains import State
from lakehouse.maintenance import RESULTS, sizes_told
from lakehouse.reading import Ask, Row
from lakehouse.report import words

# A test that its domain's runs have left out for so long is none of the project's any more.
_TEST_FORGOTTEN_AFTER = timedelta(days=7)
# How many runs of a node are compared with how many before them, at least and at most.
_LAST_RUNS, _EARLIER_RUNS = 5, 20
# Slower is what takes so many times as long, and so many seconds more: less is chance.
_SLOWER_TIMES, _SLOWER_SECONDS = 1.5, 1.0
# How many a sentence names; it says how many more there are.
_NAMED = 3
_GREEN = ("success", "pass", "warn")
_HOURS = {"minute": 1 / 60, "hour": 1.0, "day": 24.0}


@dataclass(frozen=True)
class Source:
    """A declared source table.

    Attributes:
        domain: Its domain.
        late_after_hours: How old its last load may be, as `freshness` says; None: as old as can be.
    """

    domain: str
    late_after_hours: float | None


@dataclass(frozen=True)
class Health:
    """The rows of the page; a list is empty where there is nothing to tell.

    Attributes:
        outcomes: The last outcome of each node that dbt ran: `domain`, `name`, `resource_type`,
            `status`, `failures`, `message`, `run_started_at`; red ones first.
        sources: Per source: `source`, `domain`, `last_load`, `loaded_at`, `hours` since,
            `late_after_hours`, `is_late`, `num_rows`, `failure` (what its last load said if it
            failed).
        domains: Per domain: `domain`, `built` and `published` (loads), `recorded_at`, `is_held`
            (somebody went back to older answers), `newest_event`, `is_behind` (readers do not see
            what is built).
        rejects: `source`, `entity`, `level`, `reason`, `num_rows`, `last_at`, most first.
        unmatched: `source`, `entity`, `reason`, `num_events`, `num_keys`, most first.
        runs: The last runs of each domain, newest first: `domain`, `command`, `started_at`,
            `seconds`, `num_nodes`, `num_red`, `num_rows` (that had come since the build before;
            None of a test).
        nodes: Per node: `domain`, `name`, `runs`, `seconds` (median of the last), `earlier_runs`,
            `earlier_seconds` (median; None: too few), `is_slower`; the longest first.
        tables: Per Delta table: `table`, `bytes`, `files`, `earlier_bytes`, `since`, `grown_bytes`;
            the largest first.
        is_right, is_fresh, is_published, is_slower, has_grown: A sentence each, or two.
    """

    outcomes: list[Row]
    sources: list[Row]
    domains: list[Row]
    rejects: list[Row]
    unmatched: list[Row]
    runs: list[Row]
    nodes: list[Row]
    tables: list[Row]
    is_right: str
    is_fresh: str
    is_published: str
    is_slower: str
    has_grown: str


def health_of(
    ask: Ask,
    sources: Mapping[str, Source],
    warehouse: Path | None,
    now: datetime,
) -> Health:
    """Asks everything, once.

    Args:
        ask: Runs a statement.
        sources: By `<source>.<table>`, as `declared_sources` reads them.
        warehouse: The folder of the tables, `<schema>.db/<table>`; None: no sizes are told.
        now: The moment, with its zone.
    """
    outcomes, nodes = last_outcomes(ask), seconds_of_nodes(ask)
    loads = last_loads(ask, sources, now)
    tables = sizes(warehouse, now - timedelta(days=7)) if warehouse else []
    domains = where_domains_stand(ask)
    return Health(
        outcomes=outcomes,
        sources=loads,
        domains=domains,
        rejects=_rows(ask, _REJECTS),
        unmatched=_rows(ask, _UNMATCHED),
        runs=last_runs(ask, sources),
        nodes=nodes,
        tables=tables,
        is_right=is_right(outcomes),
        is_fresh=is_fresh(loads),
        is_published=" ".join([is_published(domains), *_held(domains)]),
        is_slower=is_slower(nodes),
        has_grown=has_grown(tables),
    )


def declared_sources(project: Path) -> dict[str, Source]:
    """The sources of a dbt project, by `<source>.<table>`.

    Args:
        project: The folder of `dbt_project.yml`, which says the domain of each folder of staging;
            freshness stands in `models/staging/<source>/_<source>__sources.yml`.
    """
    declared = yaml.safe_load((project / "dbt_project.yml").read_text(encoding="utf-8"))
    staging = declared["models"][declared["name"]]["staging"]
    found = {}
    for file in sorted(project.glob("models/staging/*/_*__sources.yml")):
        domain = staging[file.parent.name]["+meta"]["domain"]
        for source in yaml.safe_load(file.read_text(encoding="utf-8"))["sources"]:
            for table in source["tables"]:
                config = (source.get("config") or {}) | (table.get("config") or {})
                after = (config.get("freshness") or {}).get("warn_after")
                hours = after["count"] * _HOURS[after["period"]] if after else None
                found[f"{source['name']}.{table['name']}"] = Source(domain, hours)
    return found


def last_outcomes(ask: Ask) -> list[Row]:
    """The last outcome of each test and node; those that are gone from the project are left out."""
    rows = _rows(
        ask,
        f"""
        with numbered as (
            select
                *,
                row_number() over (partition by node_id order by recorded_at desc) as age,
                max(recorded_at) over (partition by domain, resource_type) as last_of_its_kind
            from {RESULTS}
            where status <> 'skipped'
        )

        select
            domain,
            name,
            resource_type,
            status,
            failures,
            message,
            run_started_at,
            recorded_at,
            last_of_its_kind
        from numbered
        where age = 1
        """,
    )
    known = []
    for row in rows:
        last = _moment(row.pop("last_of_its_kind"))
        if last - _moment(row.pop("recorded_at")) <= _TEST_FORGOTTEN_AFTER:
            known.append(row)
    order = ["error", "fail", "runtime error", "partial success", "warn", "success", "pass"]
    return sorted(
        known,
        key=lambda row: (
            order.index(row["status"]) if row["status"] in order else 0,
            *(row["domain"] or "", row["name"]),
        ),
    )


def last_loads(ask: Ask, sources: Mapping[str, Source], now: datetime) -> list[Row]:
    """When each declared source last came, and how its last load failed, if it did."""
    told = {
        row["source"]: row
        for row in _rows(
            ask,
            """
            select
                source,
                max(load_id) filter (where status = 'finished') as last_load,
                max(recorded_at) filter (where status = 'finished') as loaded_at,
                coalesce(sum(num_rows) filter (where status = 'finished'), 0) as num_rows,
                max_by(status, (load_id, recorded_at)) as status,
                max_by(message, (load_id, recorded_at)) as message
            from audit.loads
            where source is not null
            group by source
            """,
        )
    }
    records = []
    for source, declared in sorted(sources.items()):
        row = told.get(source, {})
        loaded_at = row.get("loaded_at")
        hours = (now - _moment(loaded_at)).total_seconds() / 3600 if loaded_at else None
        limit = declared.late_after_hours
        records.append(
            {
                **{"source": source, "domain": declared.domain, "last_load": row.get("last_load")},
                **{"loaded_at": loaded_at, "hours": hours, "late_after_hours": limit},
                "is_late": hours is not None and limit is not None and hours > limit,
                "num_rows": int(row.get("num_rows", 0)),
                "failure": row.get("message") if row.get("status") == "failed" else None,
            }
        )
    return records


def where_domains_stand(ask: Ask) -> list[Row]:
    """Up to which load each domain is built and published, and the newest event that was built."""
    rows = _rows(
        ask,
        """
        select
            domain,
            max_by(built, number) as built,
            max_by(published, number) as published,
            max(recorded_at) as recorded_at,
            max_by(state, number) as state
        from audit.domains
        group by domain
        order by domain
        """,
    )
    for row in rows:
        details = json.loads(row.pop("state") or "{}")
        state = State(0, row["built"], row["published"], details)
        row["is_held"] = state.held is not None
        row["newest_event"] = f"{state.as_of}+00:00" if state.as_of else None
        row["is_behind"] = not state.is_published
    return rows


def _held(domains: Collection[Row]) -> list[str]:
    """Of which domains readers see older answers than what is built, a sentence each."""
    return [
        f"Publishing of {row['domain']} is held: readers see load {row['published']}."
        for row in domains
        if row["is_held"]
    ]


_REJECTS = """
    select
        source,
        entity,
        level,
        reason,
        count(*) as num_rows,
        max(_ingested_at) as last_at
    from audit.rejects
    group by source, entity, level, reason
    order by num_rows desc, source, entity, level, reason
"""

_UNMATCHED = """
    select
        source,
        entity,
        reason,
        cast(sum(num_events) as bigint) as num_events,
        count(*) as num_keys
    from audit.unmatched
    group by source, entity, reason
    order by num_events desc, source, entity, reason
"""


def last_runs(ask: Ask, sources: Mapping[str, Source], at_most: int = 10) -> list[Row]:
    """The last runs of each domain, with the rows that had come since the build before.

    Args:
        ask: Runs a statement.
        sources: The declared sources, which tell whose rows are whose.
        at_most: How many of each domain.
    """
    domains = ", ".join(f"('{name}', '{source.domain}')" for name, source in sources.items())
    rows = _rows(
        ask,
        f"""
        with runs as (
            select
                domain,
                command,
                invocation_id,
                command <> 'test' as is_build,
                min(run_started_at) as started_at,
                max(recorded_at) as ended_at,
                max(cut) as cut,
                count(*) as num_nodes,
                count(*) filter (where status in ('error', 'fail', 'runtime error')) as num_red
            from {RESULTS}
            where domain is not null and resource_type <> 'unit_test' and status <> 'skipped'
            group by domain, command, invocation_id
        ),

        numbered as (
            select
                *,
                row_number() over (partition by domain order by ended_at desc) as age,
                lag(cut) over (partition by domain, is_build order by ended_at) as cut_before
            from runs
        ),

        sources as (
            select * from (values {domains}) as declared (source, domain)
        ),

        came as (
            select
                numbered.domain,
                numbered.invocation_id,
                sum(loads.num_rows) as num_rows
            from numbered
            inner join sources on numbered.domain = sources.domain
            inner join audit.loads as loads
                on
                    sources.source = loads.source
                    and loads.status = 'finished'
                    and loads.load_id > coalesce(numbered.cut_before, 0)
                    and loads.load_id <= numbered.cut
            where numbered.age <= {at_most} and numbered.is_build
            group by numbered.domain, numbered.invocation_id
        )

        select
            numbered.domain,
            numbered.command,
            numbered.started_at,
            numbered.ended_at,
            numbered.num_nodes,
            numbered.num_red,
            if(numbered.is_build, coalesce(cast(came.num_rows as bigint), 0), null) as num_rows
        from numbered
        left join came
            on numbered.domain = came.domain and numbered.invocation_id = came.invocation_id
        where numbered.age <= {at_most}
        order by numbered.domain, numbered.ended_at desc
        """,
    )
    for row in rows:
        row["seconds"] = (_moment(row.pop("ended_at")) - _moment(row["started_at"])).total_seconds()
    return rows


def seconds_of_nodes(ask: Ask) -> list[Row]:
    """How long each table and snapshot takes to build, in its last runs and in those before."""
    rows = _rows(
        ask,
        f"""
        with numbered as (
            select
                node_id,
                domain,
                name,
                seconds,
                row_number() over (partition by node_id order by recorded_at desc) as age
            from {RESULTS}
            where resource_type in ('model', 'snapshot') and status = 'success'
        )

        select
            node_id,
            domain,
            name,
            seconds
        from numbered
        where age <= {_LAST_RUNS + _EARLIER_RUNS}
        order by node_id, age
        """,
    )
    of_node: dict[str, list[Row]] = {}
    for row in rows:
        of_node.setdefault(row["node_id"], []).append(row)
    records = []
    for runs in of_node.values():
        seconds = [row["seconds"] for row in runs]
        last, earlier = seconds[:_LAST_RUNS], seconds[_LAST_RUNS:]
        now, before = median(last), median(earlier) if len(earlier) >= _LAST_RUNS else None
        records.append(
            {
                **{"domain": runs[0]["domain"], "name": runs[0]["name"]},
                **{"runs": len(last), "seconds": now},
                **{"earlier_runs": len(earlier), "earlier_seconds": before},
                "is_slower": before is not None
                and now >= _SLOWER_TIMES * before
                and now >= before + _SLOWER_SECONDS,
            }
        )
    return sorted(records, key=lambda row: (-row["seconds"], row["name"]))


def sizes(warehouse: Path, since: datetime) -> list[Row]:
    """What each Delta table holds, and held at a moment, or when its log begins, if that is later.

    Delta writes the size of each version beside it, so no engine is asked, and no file is counted
    that a table no longer has.

    Args:
        warehouse: The folder of the tables, `<schema>.db/<table>`; elsewhere there are none.
        since: The moment, with its zone.
    """
    records = []
    for log in sorted(warehouse.glob("*.db/*/_delta_log")):
        versions = sizes_told(log)
        if not versions:
            continue
        moments = {path: datetime.fromtimestamp(path.stat().st_mtime, UTC) for path in versions}
        before = max((path for path in versions if moments[path] <= since), default=versions[0])
        newest = json.loads(versions[-1].read_text(encoding="utf-8"))
        earlier = json.loads(before.read_text(encoding="utf-8"))
        is_new = int(before.stem) == 0 and moments[before] > since
        num_bytes, earlier_bytes = newest["tableSizeBytes"], earlier["tableSizeBytes"]
        earlier_bytes = 0 if is_new else earlier_bytes
        moment = since if is_new else max(moments[before], since)
        records.append(
            {
                "table": f"{log.parent.parent.stem}.{log.parent.name}",
                **{"bytes": num_bytes, "files": newest["numFiles"]},
                **{"earlier_bytes": earlier_bytes, "grown_bytes": num_bytes - earlier_bytes},
                "since": f"{moment:%Y-%m-%d %H:%M:%S}+00:00",
            }
        )
    return sorted(records, key=lambda row: (-row["bytes"], row["table"]))


def is_right(outcomes: Collection[Row]) -> str:
    """Is it right: which tests are red, and which nodes failed when they last ran."""
    tests = [row for row in outcomes if row["resource_type"] == "test"]
    broken = [
        row["name"]
        for row in outcomes
        if row["resource_type"] not in ("test", "unit_test") and row["status"] not in _GREEN
    ]
    parts = []
    red = [row for row in tests if row["status"] not in _GREEN]
    if not tests:
        parts.append("No test has run yet.")
    elif red:
        verb = "is" if len(red) == 1 else "are"
        names = _named(
            f"{row['name']} ({_counted(row['failures'], 'row')})"
            if row["failures"]
            else f"{row['name']} ({row['status']})"
            for row in red
        )
        parts.append(f"{len(red)} of {_counted(len(tests), 'test')} {verb} red: {names}.")
    elif len(tests) == 1:
        parts.append("The only test is green.")
    else:
        parts.append(f"All {len(tests)} tests are green.")
    if warned := [row["name"] for row in tests if row["status"] == "warn"]:
        parts.append(f"{_counted(len(warned), 'test')} with a warning: {_named(warned)}.")
    if broken:
        tables = _counted(len(broken), "table")
        parts.append(f"{tables} could not be built when last tried: {_named(broken)}.")
    return " ".join(parts)


def is_fresh(sources: Collection[Row]) -> str:
    """Is it fresh: which sources are late, fail, or have never come, where their domain has."""
    came = [row for row in sources if row["loaded_at"]]
    failing = [row for row in sources if row["failure"]]
    late = [row for row in came if row["is_late"]]
    parts = []
    if not came:
        parts.append("Nothing has come yet.")
    elif late:
        verb = "is" if len(late) == 1 else "are"
        names = _named(
            f"{row['source']} (last load {words.moment(row['loaded_at'])}, "
            f"late after {_duration(row['late_after_hours'] * 3600)})"
            for row in sorted(late, key=lambda row: -row["hours"])
        )
        parts.append(f"{len(late)} of {_counted(len(came), 'source')} {verb} late: {names}.")
    else:
        last = words.moment(max(row["loaded_at"] for row in came))
        whole = "The only source" if len(came) == 1 else f"All {len(came)} sources"
        verb = "is" if len(came) == 1 else "are"
        parts.append(f"{whole} that ever came {verb} fresh: the last load was {last}.")
    if failing:
        names = _named(row["source"] for row in failing)
        verb = "fails" if len(failing) == 1 else "fail"
        parts.append(f"{_counted(len(failing), 'source')} {verb} to be taken in: {names}.")
    at_work = {row["domain"] for row in came}
    if missing := [
        row["source"] for row in sources if not row["loaded_at"] and row["domain"] in at_work
    ]:
        parts.append(f"Of {_counted(len(missing), 'source')} nothing ever came: {_named(missing)}.")
    return " ".join(parts)


def is_published(domains: Collection[Row]) -> str:
    """Do readers see what is built: which domains wait for their tests."""
    built = [row for row in domains if row["built"]]
    behind = [row for row in built if row["is_behind"]]
    if not built:
        return "Nothing has been built yet."
    if not behind:
        whole = "the only domain" if len(built) == 1 else f"{len(built)} domains"
        return f"Readers see all that is built, of {whole}."
    names = _named(
        f"{row['domain']} (built up to load {row['built']}, {_seen(row)})" for row in behind
    )
    return f"Of {_counted(len(behind), 'domain')} readers do not see what is built: {names}."


def _seen(domain: Row) -> str:
    if domain["published"] is None:
        return "never published"
    anew = " as it was before" if domain["published"] == domain["built"] else ""
    return f"readers see load {domain['published']}{anew}"


def is_slower(nodes: Collection[Row]) -> str:
    """Is it getting slower: which tables take longer than before, by the medians of their runs."""
    if not nodes:
        return "Nothing has been built yet."
    known = [row for row in nodes if row["earlier_seconds"] is not None]
    if not known:
        most = max(row["runs"] + row["earlier_runs"] for row in nodes)
        return (
            "Too few runs to tell whether it is getting slower: a table has been built "
            f"{_counted(most, 'time')} at most, and {2 * _LAST_RUNS} are needed."
        )
    now = sum(row["seconds"] for row in known)
    before = sum(row["earlier_seconds"] for row in known)
    slower = [row for row in known if row["is_slower"]]
    whole = f"{_counted(len(known), 'table')} together {_seconds(now)}, before {_seconds(before)}"
    if not slower:
        return f"No table is getting slower: {whole}."
    verb = "is" if len(slower) == 1 else "are"
    names = _named(
        f"{row['name']} ({_seconds(row['earlier_seconds'])} before, now {_seconds(row['seconds'])})"
        for row in sorted(slower, key=lambda row: row["earlier_seconds"] - row["seconds"])
    )
    return f"{len(slower)} {verb} getting slower: {names}; {whole}."


def has_grown(tables: Collection[Row]) -> str:
    """What it holds, and what grew most, where any table has an earlier size."""
    if not tables:
        return "There are no tables here whose size is known."
    total = sum(row["bytes"] for row in tables)
    grown = sum(row["grown_bytes"] for row in tables)
    since = min(row["since"] for row in tables)[:10]
    hold = "holds" if len(tables) == 1 else "hold"
    text = f"{_counted(len(tables), 'table')} {hold} {_size(total)}"
    if grown == total:
        return f"{text}."
    change = f"{_size(abs(grown))} {'more' if grown > 0 else 'less'} than on" if grown else "as on"
    text = f"{text}, {change} {since}"
    most = sorted((row for row in tables if row["grown_bytes"] > 0), key=_by_growth)[:_NAMED]
    if not most:
        return f"{text}."
    names = ", ".join(f"{row['table']} ({_size(row['grown_bytes'])})" for row in most)
    return f"{text}; grown most: {names}."


def _by_growth(row: Row) -> tuple[int, str]:
    return -row["grown_bytes"], row["table"]


def _rows(ask: Ask, sql: str) -> list[Row]:
    return ask(sql) or []


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _named(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + more


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.1f} s"


def _duration(seconds: float) -> str:
    """In its largest unit: `40 seconds`, `3 minutes`, `26 hours`, `9 days`."""
    for unit, length, until in (("second", 1, 60), ("minute", 60, 3600), ("hour", 3600, 172_800)):
        if seconds < until:
            return _counted(int(seconds // length), unit)
    return _counted(int(seconds // 86_400), "day")


def _size(num_bytes: float) -> str:
    units = iter(("B", "kB", "MB", "GB"))
    unit = next(units)
    while num_bytes >= 1000 and unit != "TB":
        num_bytes, unit = num_bytes / 1000, next(units, "TB")
    return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"
