"""The shop's story against plain Python: in any order, twice, late and broken; and live."""

from __future__ import annotations

import json
import random
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from generators.retail.tables import STOCK_MOVEMENTS
from lakehouse import documents
from lakehouse.engine import local
from lakehouse.health import declared_sources, health_of
from lakehouse.reading import asking
from lakehouse.report.parts import Block
from lakehouse.report.retail import page
from lakehouse.settings import PROJECT
from tests.support.domains import DOMAINS, File
from tests.support.jdbc import connected, what_differs
from tests.support.lakehouse import Lakehouse, plain
from tests.support.marts import Marts

RETAIL = DOMAINS["retail"]
STORY = {
    **{"days": 6, "minutes": 10, "customers": 15},
    **{"late": 0.2, "duplicates": 0.1, "corrupt": 0.01, "reversed_": True},
}


@pytest.fixture(scope="module")
def told(lakehouse: Lakehouse) -> tuple[Lakehouse, dict]:
    """The story in two loads, the later half first."""
    lakehouse.domains = ("retail",)
    files = RETAIL.files(7, STORY)
    lakehouse.deliver_files(lakehouse.build_half(files))
    whole = [file for file in files if not file.is_refused]
    for number, file in enumerate(random.Random(8).sample(whole, len(whole) // 5)):
        lakehouse.deliver(
            file.table, f"again-{number}-{file.name.rpartition('/')[2]}", file.content
        )
    lakehouse.ingest()
    live = {"arrived": lakehouse.gold("gold", RETAIL.live)}
    # Balances come to a load of which movements know nothing.
    lakehouse.build_untested("--select", "int_stock_movements_delivered", "int_stock_movements")
    lakehouse.deliver_files([corrected(files)])
    lakehouse.ingest()
    lakehouse.build_untested("--select", "int_stock_days", "int_stock_balances")
    live["in parts"] = lakehouse.gold("gold", RETAIL.live)
    lakehouse.build()
    refused = sorted(file.full_name for file in files if file.is_refused)
    expected = RETAIL.answers([*files, corrected(files)])
    expected["arrived"] = RETAIL.answers(files)
    return lakehouse, expected | {"refused_files": refused, "live": live}


def corrected(files: list[File]) -> File:
    """The movements of a file, each of three pieces fewer, as is written down nine days later."""
    file = next(file for file in files if file.table == STOCK_MOVEMENTS and not file.is_refused)
    rows = pq.read_table(BytesIO(file.content))
    later = {
        "quantity": pc.subtract(rows["quantity"], 3),
        "recorded_at": pc.add(rows["recorded_at"], pa.scalar(timedelta(days=9))),
    }
    for name, column in later.items():
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
    content = BytesIO()
    pq.write_table(rows, content)
    return file._replace(name="corrected.parquet", content=content.getvalue())


def test_a_live_view_needs_no_build(told: tuple[Lakehouse, dict]) -> None:
    """Half of the story was built, half of it had arrived, some of it in both."""
    _, expected = told
    for view, rows in expected["live"]["arrived"].items():
        assert rows == sorted(expected["arrived"][view], key=repr)


def test_a_live_view_is_right_whatever_builds_have_left(told: tuple[Lakehouse, dict]) -> None:
    _, expected = told
    for view, rows in expected["live"]["in parts"].items():
        assert rows == sorted(expected[view], key=repr)


@pytest.mark.parametrize("mart", [*RETAIL.marts, *RETAIL.live])
def test_the_mart_equals_the_expected_answer(told: tuple[Lakehouse, dict], mart: str) -> None:
    lakehouse, expected = told
    columns = ", ".join(expected[mart][0])
    rows = plain(lakehouse.rows(f"select {columns} from gold.{mart}"))
    assert rows == sorted(expected[mart], key=repr)


def test_the_page_says_what_the_answers_do(told: tuple[Lakehouse, dict]) -> None:
    """The questions mean the same to Spark and, with plain Python's marts, to DuckDB."""
    lakehouse, expected = told
    marts = Marts()
    marts.tell(expected)
    seen = page(asking(local.session(lakehouse.settings)))
    assert seen.answer == page(marts.ask).answer
    assert [rows_of(block) for block in seen.blocks if block.key != "refused"] == [
        rows_of(block) for block in page(marts.ask).blocks
    ]


def rows_of(block: Block) -> tuple[str, list[dict]]:
    """A block's sentence and rows; means of floats to nine digits, which have no order."""
    return block.sentence, [
        {name: float(f"{x:.9g}") if isinstance(x, float) else x for name, x in row.items()}
        for row in block.rows
    ]


def test_events_in_are_accepted_or_doubled_or_rejected(told: tuple[Lakehouse, dict]) -> None:
    lakehouse, expected = told
    assert lakehouse.miscounts(expected, RETAIL.accepted) == []


def test_what_waits_and_what_was_refunded_beyond_its_line_is_listed(
    told: tuple[Lakehouse, dict],
) -> None:
    lakehouse, expected = told
    waiting = lakehouse.rows(
        "select reason, sum(num_events) as num_events from audit.retail_unmatched group by reason"
    )
    found = {row["reason"]: row["num_events"] for row in waiting}
    assert found == {reason: number for reason, number in expected["unmatched"].items() if number}
    beyond = plain(lakehouse.rows("select * from audit.retail_refunds_beyond_lines"))
    assert beyond == sorted(expected["refunded_beyond"], key=repr)


def test_what_cannot_be_read_is_refused_and_the_rest_goes_on(
    told: tuple[Lakehouse, dict],
) -> None:
    lakehouse, expected = told
    assert lakehouse.refused_files() == expected["refused_files"]


def test_its_health_is_told(told: tuple[Lakehouse, dict]) -> None:
    """By what dbt, Delta and plain Python say of the same."""
    lakehouse, expected = told
    paths = lakehouse.settings.paths
    health = health_of(
        lakehouse.records, declared_sources(PROJECT), paths.warehouse, datetime.now(UTC)
    )
    results = json.loads((paths.root / "target" / "run_results.json").read_text())["results"]
    num_tests = sum(row["unique_id"].startswith("test.") for row in results)
    assert health.is_right == f"All {num_tests} tests are green."
    assert health.is_fresh.startswith(f"All {len(expected['table_counts'])} sources that ever came")
    assert health.is_slower.startswith("Too few runs to tell")
    counts = expected["entity_counts"].values()
    for level in ("row", "field"):
        found = sum(row["num_rows"] for row in health.rejects if row["level"] == level)
        assert found == sum(of[f"{level}_rejects"] for of in counts)
    waiting = sum(row["num_events"] for row in health.unmatched)
    assert waiting == sum(expected["unmatched"].values())
    assert sum(row["num_rows"] for row in health.sources) == sum(
        of["events_in"] for of in expected["table_counts"].values()
    )
    # The first of the runs took in the first half, the last one what was corrected.
    whole = [row for row in health.runs if row["domain"] == "retail"]
    assert sum(row["num_rows"] for row in whole) == sum(row["num_rows"] for row in health.sources)
    [table] = [row for row in health.tables if row["table"] == "silver.int_orders"]
    [detail] = lakehouse.rows("describe detail silver.int_orders")
    assert (table["bytes"], table["files"]) == (detail["sizeInBytes"], detail["numFiles"])


def test_a_bi_tool_sees_the_marts_as_they_are(told: tuple[Lakehouse, dict]) -> None:
    lakehouse, _ = told
    assert what_differs(lakehouse, (*RETAIL.marts, *RETAIL.live)) == []


def test_a_bi_tool_sees_every_value_as_it_is(told: tuple[Lakehouse, dict]) -> None:
    """Moments as they stand in UTC: half past two is an hour that some clocks leave out."""
    lakehouse, _ = told
    with connected(lakehouse.settings) as tool:
        [row] = tool.rows(
            "select cast('-12345678901234567890.100000001' as decimal(38, 9)), "
            "cast('0.10' as decimal(18, 2)), timestamp '2026-03-08 02:30:00.000001+00:00', "
            "timestamp '1969-12-31 23:59:59.999999+00:00', date '2024-02-29', 0.1D, "
            "9223372036854775807L, 'it''s \u00e9 \u6f22 \U0001f600', '', true, "
            "cast(null as decimal(18, 2)), cast(null as timestamp), cast(null as string)"
        )
    assert row == (
        *(Decimal("-12345678901234567890.100000001"), Decimal("0.10")),
        *(datetime(2026, 3, 8, 2, 30, 0, 1), datetime(1969, 12, 31, 23, 59, 59, 999_999)),
        *(date(2024, 2, 29), 0.1, 9_223_372_036_854_775_807, "it's é 漢 😀", "", True),
        *(None, None, None),
    )
    assert str(row[1]) == "0.10"


def test_notebooks_read_as_the_docs_say(told: tuple[Lakehouse, dict]) -> None:
    _, expected = told
    known = expected["sales_by_region_product"]
    text = (PROJECT / "docs" / "other_tools.md").read_text()
    found: dict[str, Any] = {}
    for lines in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(lines, found)  # noqa: S102 - our own
    assert plain(found["sales"].to_dict("records")) == sorted(known, key=repr)
    assert found["lines"]["quantity"].sum() == sum(row["units"] for row in known)
    by_region: dict[str, Decimal] = {}
    for row in known:
        by_region[row["region"]] = by_region.get(row["region"], Decimal(0)) + Decimal(
            row["net_sales"]
        )
    assert dict(found["by_region"].fetchall()) == by_region


def told_sizes(table: dict[str, Any]) -> tuple[int, int]:
    """The rows and bytes that a catalog tells of a table."""
    return table["stats"]["rows"]["value"], table["stats"]["bytes"]["value"]


def counted_sizes(lakehouse: Lakehouse, table: str) -> tuple[int, int]:
    """The rows that come when all are asked for, and the bytes of the files that they come from."""
    files = local.session(lakehouse.settings).table(table).inputFiles()
    sizes = [Path(unquote(urlparse(file).path)).stat().st_size for file in files]
    return len(lakehouse.rows(f"select * from {table}")), sum(sizes)


def test_the_docs_have_rows_and_bytes_of_tables(told: tuple[Lakehouse, dict]) -> None:
    lakehouse, _ = told
    tables = ("gold_build.inventory_daily", "silver.int_orders", "bronze.retail_clicks")
    nodes = {name: entry(name, "table") for name in (*tables, "silver.gone")}
    nodes["gold.stock_status"] = entry("gold.stock_status", "view")
    documents.fill_in_sizes(
        {"nodes": nodes, "sources": {}},
        local.session(lakehouse.settings),
        lakehouse.settings.paths.warehouse,
    )
    for name in tables:
        assert told_sizes(nodes[name]) == counted_sizes(lakehouse, name)
    assert not nodes["silver.gone"]["stats"]
    assert not nodes["gold.stock_status"]["stats"]


def entry(name: str, kind: str) -> dict[str, Any]:
    """What a catalog has of a table before its sizes are filled in."""
    schema, _, table = name.partition(".")
    return {"metadata": {"schema": schema, "name": table, "type": kind}, "stats": {}}


@pytest.mark.deep
def test_the_docs_of_a_home_tell_types_rows_and_bytes(
    told: tuple[Lakehouse, dict], tmp_path: Path
) -> None:
    """Of a home in which one domain of three is built."""
    lakehouse, _ = told
    documents.write(lakehouse.settings, tmp_path)
    pages = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    diagrams = {f"docs/{domain}.html" for domain in DOMAINS}
    assert pages == {"docs/index.html", "lineage/index.html", *diagrams}
    page = (tmp_path / "docs/index.html").read_text()
    start = page.index('{"metadata":', page.index("catalog:"))
    catalog, _ = json.JSONDecoder().raw_decode(page[start:])
    session = local.session(lakehouse.settings)
    for mart in RETAIL.marts:
        entry = catalog["nodes"][f"model.lakehouse.{mart}"]
        types = {name: column["type"] for name, column in entry["columns"].items()}
        assert types == dict(session.table(f"gold_build.{mart}").dtypes)
        assert told_sizes(entry) == counted_sizes(lakehouse, f"gold_build.{mart}")
    assert "model.lakehouse.server_load" not in catalog["nodes"]


@pytest.mark.deep
def test_a_full_refresh_changes_nothing(told: tuple[Lakehouse, dict]) -> None:
    lakehouse, _ = told
    before = lakehouse.gold("gold_build", RETAIL.marts)
    lakehouse.build_untested("--full-refresh")
    assert lakehouse.gold("gold_build", RETAIL.marts) == before
