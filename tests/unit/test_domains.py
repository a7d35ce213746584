"""What there is to do for a domain, by what the engine tells."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from lakehouse import domains
from lakehouse.domains import Domain, News, State, domains_of, news_of

DOMAIN = Domain("network", frozenset({"silver.a", "gold_build.b"}), frozenset({"t.x", "t.y"}))
WHOLE = State(9, 7, 7, {"marts": {"b": 3}, "gold": {"b": 3}, "pending": []})
# load, source, status, rows
Loads = list[tuple[int, str | None, str, int | None]]
LOAD_8: Loads = [(8, "t.x", "finished", 5), (8, None, "closed", 5)]


class Engine:
    """An engine with these loads, and a view of `gold` that shows this version of mart `b`."""

    def __init__(self, loads: Loads, shown: int | None = 3) -> None:
        self.loads = loads
        self.shown = shown
        self.catalog = SimpleNamespace(databaseExists=lambda _: True)

    def sql(self, statement: str) -> SimpleNamespace:
        if statement.startswith("show table extended in gold "):
            views = {"server_status": "select a\nfrom x"}
            if self.shown is not None:
                views["b"] = f"select a from b version as of {self.shown}"
            rows = [
                {"tableName": name, "information": f"View Text: {text}\nView Original Text: {text}"}
                for name, text in views.items()
            ]
            return SimpleNamespace(collect=lambda: rows)
        [built] = re.findall(r"from audit.loads where load_id > (\d+)$", statement)
        ours = re.findall(r"'(\w\.\w)'", statement)
        loads = [load for load in self.loads if load[0] > int(built)]
        closed = [load[0] for load in loads if load[2] == "closed"]
        of_ours = [load for load in loads if load[1] in ours]
        row = {
            "cut": max(closed, default=None),
            "num_closed": len(closed),
            "first": min((load[0] for load in of_ours), default=None),
            "num_rows": sum(load[3] or 0 for load in of_ours),
        }
        return SimpleNamespace(collect=lambda: [row])


@pytest.fixture
def news(monkeypatch: pytest.MonkeyPatch):
    def news(
        state: State | None,
        loads: Loads,
        tables: tuple[str, ...] = ("silver.a", "gold_build.b"),
        shown: int | None = 3,
    ) -> News | None:
        monkeypatch.setattr(
            domains,
            "_names_in",
            lambda _, schema: {table.split(".")[1] for table in tables if table.startswith(schema)},
        )
        states = {"network": state} if state else {}
        engine = Engine(loads, shown)
        return news_of(engine, [DOMAIN], states).get("network")  # type: ignore[arg-type]

    return news


@pytest.mark.parametrize(
    ("loads", "found"),
    [
        ([], None),
        (LOAD_8, News("load 8", is_small=True)),
        ([(8, "o.z", "finished", 5), (8, None, "closed", 5)], None),
        ([(8, "t.x", "begun", None)], None),
        ([(8, "o.z", "finished", 5), (8, None, "closed", 5), (9, "t.x", "begun", None)], None),
        ([(8, "t.y", "failed", 0), (8, None, "closed", 0)], News("load 8", is_small=True)),
        ([(8, "t.y", "finished", 200_000), (8, None, "closed", 0)], News("load 8", is_small=True)),
        ([(8, "t.y", "finished", 200_001), (8, None, "closed", 0)], News("load 8")),
        (
            [
                *((8, "o.z", "finished", 10**6), (8, None, "closed", 10**6)),
                *((9, "t.x", "finished", 1), (9, None, "closed", 1)),
            ],
            News("loads 8 to 9", is_small=True),
        ),
        # Load 8 broke off: how many rows came with it is not known.
        ([(9, "t.x", "finished", 1), (9, None, "closed", 1)], News("loads 8 to 9")),
    ],
)
def test_a_domain_has_news_when_a_source_took_part_in_a_closed_load(
    news, loads: Loads, found: News | None
) -> None:
    before: Loads = [(7, "t.x", "finished", 10**6), (7, None, "closed", 10**6)]
    assert news(WHOLE, before + loads) == found


def test_a_domain_of_which_nothing_ever_came_has_no_news(news) -> None:
    others: Loads = [(1, "o.z", "finished", 5), (1, None, "closed", 5)]
    assert news(None, others, ()) is None
    ours: Loads = [(2, "t.x", "finished", 5), (2, None, "closed", 5)]
    assert news(None, others + ours, ()) == News("loads 1 to 2", is_small=True, is_first=True)


@pytest.mark.parametrize(
    ("state", "tables", "found"),
    [
        (WHOLE, ("silver.a",), News("missing: gold_build.b")),
        (
            State(9, 7, 7, {"pending": ["a", "b"], "is_being_written": True}),
            ("silver.a", "gold_build.b"),
            News("to be built anew: a, b"),
        ),
        (
            State(9, 7, 7, {"pending": [], "is_being_written": True}),
            ("silver.a", "gold_build.b"),
            News("written since it was last built whole", is_small=True),
        ),
        (
            State(1, None, None, {"pending": []}),
            (),
            News("never built whole", is_small=True, is_first=True),
        ),
        (State(9, 7, 6), ("silver.a", "gold_build.b"), News()),
        (State(9, 7, None), ("silver.a", "gold_build.b"), News()),
        (
            State(9, 7, 7, {"marts": {"b": 4}, "gold": {"b": 3}}),
            ("silver.a", "gold_build.b"),
            News(),
        ),
        (State(9, 7, 4, {"held": 5}), ("silver.a", "gold_build.b"), None),
        (State(9, 7, 4, {"held": 5}), ("silver.a",), News("missing: gold_build.b")),
        (State(9, 7, 4, {"held": None}), ("silver.a", "gold_build.b"), News()),
    ],
)
def test_what_was_left_undone_is_news_without_a_load(
    news, state: State, tables: tuple[str, ...], found: News
) -> None:
    assert news(state, [], tables) == found


@pytest.mark.parametrize("shown", [2, 30, None])
def test_views_that_a_kill_has_left_behind_are_put_right_without_a_load(
    news, shown: int | None
) -> None:
    """By the build that is news then. A mart that is none of the project's any more is no news."""
    behind = News("readers do not see what is published: b", is_small=True)
    assert news(WHOLE, [], shown=shown) == behind
    assert news(WHOLE, LOAD_8, shown=shown) == News("load 8", is_small=True)
    removed = State(9, 7, 7, {"marts": {"b": 3, "c": 1}, "gold": {"b": 3, "c": 1}})
    assert news(removed, []) is None


def test_what_is_built_anew_is_no_small_work_however_few_rows_came(news) -> None:
    assert news(WHOLE, LOAD_8, ("silver.a",)) == News("load 8; missing: gold_build.b")


def test_what_belongs_to_a_domain_stands_in_the_project() -> None:
    def node(domain: str | None, kind: str, name: str, *parents: str) -> SimpleNamespace:
        return SimpleNamespace(
            config=SimpleNamespace(meta={"domain": domain} if domain else {}, materialized=kind),
            schema="silver",
            alias=name,
            depends_on_nodes=list(parents),
        )

    nodes = [
        node("retail", "seed", "s"),
        node("network", "view", "stg", "source.lakehouse.t.x", "source.lakehouse.t.y"),
        node("network", "incremental", "a", "model.lakehouse.stg"),
        node("network", "snapshot", "b"),
        node("network", "table", "c"),
        node(None, "view", "rejects", "source.lakehouse.o.z"),
        node(None, "test", "unique_a", "model.lakehouse.a"),
    ]
    assert domains_of(nodes) == [
        Domain(
            "network",
            frozenset({"silver.stg", "silver.a", "silver.b", "silver.c"}),
            DOMAIN.sources,
        ),
        Domain("retail", frozenset({"silver.s"}), frozenset()),
    ]
