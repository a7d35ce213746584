"""The shop's story against plain Python: in any order, twice, late and broken; and live."""

from __future__ import annotations

import random
from datetime import timedelta
from io import BytesIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from generators.retail.tables import STOCK_MOVEMENTS
from lakehouse.alerts import asking
from lakehouse.engine import local
from lakehouse.report.parts import Block
from lakehouse.report.retail import page
from tests.support.domains import DOMAINS, File
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


@pytest.mark.deep
def test_a_full_refresh_changes_nothing(told: tuple[Lakehouse, dict]) -> None:
    lakehouse, _ = told
    before = lakehouse.gold("gold_build", RETAIL.marts)
    lakehouse.build_untested("--full-refresh")
    assert lakehouse.gold("gold_build", RETAIL.marts) == before
