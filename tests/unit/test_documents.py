"""The docs, the diagrams and the lineage: what they tell, and that they load nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, sync_playwright

from lakehouse import documents
from lakehouse.diagrams import Entity, entities_of, page_of
from lakehouse.lineage import lineage_of

CHROMIUM = shutil.which("chromium")
DOMAINS = ("wearables", "network", "retail")


@pytest.fixture(scope="module")
def project(manifest: Any) -> dict[str, Any]:
    """The project as dbt writes it down."""
    whole = manifest.writable_manifest().to_dict(omit_none=False)
    read: dict[str, Any] = json.loads(json.dumps(whole, default=str))
    return read


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM and os.environ.get("CI") != "true":
        pytest.skip("there is no chromium. Install it, on Debian with: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def node(name: str, sql: str, columns: str, kind: str = "model") -> dict[str, Any]:
    named = {column: {"name": column, "data_type": "string"} for column in columns.split()}
    return {
        **{"unique_id": f"{kind}.shop.{name}", "resource_type": kind, "schema": "s", "alias": name},
        **{"identifier": name, "name": name, "columns": named, "compiled_code": sql},
    }


# Lineage


def traced(sql: str, columns: str) -> dict[str, set[str]]:
    """Per column of a model on two tables: where it comes from, and what is done on the way."""
    tables = [
        node("orders", "", "order_id customer price placed_at", "source"),
        node("lines", "", "order_id line price"),
    ]
    manifest = {
        "nodes": {one["unique_id"]: one for one in (tables[1], node("mart", sql, columns))},
        "sources": {tables[0]["unique_id"]: tables[0]},
    }
    found = lineage_of(manifest)["model.shop.mart"]
    return {
        column: {
            f"{origin['source_model'].split('.')[-1]}.{origin['source_column']} "
            f"{origin['transformation']}"
            for origin in origins
        }
        for column, origins in found.items()
    }


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select order_id, 1 as one from s.orders", {"order_id": "orders.order_id passthrough"}),
        ("select order_id as id from s.orders", {"id": "orders.order_id passthrough"}),
        (
            "with a as (select * from s.orders), b as (select * from a) "
            "select * except (order_id, price, placed_at) from b",
            {"customer": "orders.customer passthrough"},
        ),
        ("select upper(customer) as id from s.orders", {"id": "orders.customer derived"}),
        (
            "with a as (select sum(price) as total from s.orders) select total / 100 as id from a",
            {"id": "orders.price aggregated"},
        ),
        (
            "select price from s.orders union all select price from s.lines",
            {"price": "orders.price passthrough, lines.price passthrough"},
        ),
        (
            "select o.customer, l.price from s.orders as o join s.lines as l using (order_id)",
            {"customer": "orders.customer passthrough", "price": "lines.price passthrough"},
        ),
        (
            "select coalesce(l.price, o.price) as price from s.lines as l, s.orders as o",
            {"price": "lines.price derived, orders.price derived"},
        ),
        ("select from nothing that ( can be read", {}),
        ("select price from s.unknown", {}),
    ],
)
def test_a_column_is_followed_to_the_columns_it_is_worked_out_from(
    sql: str, expected: dict[str, str]
) -> None:
    assert traced(sql, "one id order_id customer price") == {
        name: set(of.split(", ")) for name, of in expected.items()
    }


# Diagrams


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_diagram_has_every_mart_and_refers_by_columns_of_both_sides(
    project: dict[str, Any], domain: str
) -> None:
    entities = {entity.name: entity for entity in entities_of(project, domain)}
    marts = {
        node["name"]
        for node in project["nodes"].values()
        if node["resource_type"] == "model" and node["fqn"][1:3] == ["marts", domain]
    }
    assert marts <= entities.keys()
    for entity in entities.values():
        for table, columns in entity.refers_to.items():
            for column in columns:
                assert dict(entity.columns)[column] == dict(entities[table].columns)[column]


@pytest.mark.parametrize("turn", [1, -1])
def test_the_shortest_key_that_is_tested_is_the_key(project: dict[str, Any], turn: int) -> None:
    nodes = dict(list(project["nodes"].items())[::turn])
    keys = {entity.name: entity.key for entity in entities_of(project | {"nodes": nodes}, "retail")}
    assert keys["int_orders"] == ["order_id"]  # its grain has four columns
    assert keys["inventory_daily"] == ["product_id", "warehouse", "date"]
    assert keys["customer_segments"] == ["customer_id"]
    assert keys["stock_status"] == []  # a live view has no tests


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_diagram_is_drawn_apart_and_says_the_same_in_words(
    project: dict[str, Any], browser: Browser, tmp_path: Path, domain: str
) -> None:
    entities = entities_of(project, domain)
    path = tmp_path / "diagram.html"
    path.write_text(page_of(domain, entities))
    seen = look(browser, path)
    boxes = seen.evaluate(
        "[...document.querySelectorAll('table')].map(table => { const box = "
        "table.getBoundingClientRect(); return [table.caption.innerText.split('\\n')[0].trim(), "
        "box.left, box.top, box.right, box.bottom] })"
    )
    assert len(boxes) == len(entities)
    for number, (name, left, top, right, bottom) in enumerate(boxes):
        for other, other_left, other_top, other_right, other_bottom in boxes[number + 1 :]:
            is_apart = (
                right <= other_left
                or other_right <= left
                or bottom <= other_top
                or other_bottom <= top
            )
            assert is_apart, (name, other)
    arrows = seen.locator("svg > path").count()
    words = seen.locator("main").text_content() or ""
    assert arrows == sum(len(entity.refers_to) for entity in entities)
    for entity in entities:
        for table, columns in entity.refers_to.items():
            assert words.count(f"refers to {table}") >= len(columns)
    assert seen.evaluate("document.querySelectorAll('th').length") == sum(
        len(entity.columns) for entity in entities
    )
    heights = seen.evaluate("[...document.querySelectorAll('table')].map(t => t.offsetHeight)")
    assert heights == pytest.approx([entity.height for entity in entities], abs=3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_a_diagram(
    project: dict[str, Any], browser: Browser, tmp_path: Path, scheme: Literal["light", "dark"]
) -> None:
    path = tmp_path / "diagram.html"
    path.write_text(page_of("network", entities_of(project, "network")))
    page = browser.new_page(color_scheme=scheme, bypass_csp=True)
    page.goto(path.as_uri())
    assert Axe().run(page).response["violations"] == []


def test_a_name_in_a_diagram_stays_text() -> None:
    hostile = "<script>alert(1)</script>"
    page = page_of("x", [Entity("model.x.y", "y", "gold", [(hostile, "int")], [], {})])
    assert hostile not in page
    assert "&lt;script&gt;" in page


# Pages


def look(browser: Browser, path: Path, where: str = "") -> Any:
    """A page that is open, after which it has complained of nothing and asked for itself alone."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url.partition("#")[0]))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"{path.as_uri()}{where}")
    page.wait_for_timeout(500)
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    return page


@pytest.fixture(scope="module")
def site(project: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dbt's docs and the lineage of the project, with a table of which the size is known."""
    kept = ("models/marts/retail/", "models/intermediate/retail/int_stock_days")
    nodes = {
        name: dict(node)
        for name, node in project["nodes"].items()
        if node["original_file_path"].startswith(kept) and node["resource_type"] == "model"
    }
    manifest = project | {"nodes": nodes, "macros": {}, "sources": {}, "unit_tests": {}}
    manifest["metadata"] = manifest["metadata"] | {"send_anonymous_usage_stats": True}
    mart = manifest["nodes"]["model.lakehouse.inventory_daily"]
    mart["compiled_code"] = "select sold, sold + 1 as issued from silver.int_stock_days"
    mart["description"] = "</script><script>document.title = 'taken'</script>"
    of_mart = {
        **{"schema": "gold_build", "name": "inventory_daily", "type": "table"},
        **{"database": None, "comment": None, "owner": None},
    }
    columns = {"sold": {"type": "bigint", "index": 1, "name": "sold", "comment": None}}
    entry = {"metadata": of_mart, "columns": columns, "stats": documents._stats(4321, 7 * 2**20)}
    catalog = {
        "metadata": {
            **manifest["metadata"],
            "dbt_schema_version": "https://schemas.getdbt.com/dbt/catalog/v1.json",
        },
        "nodes": {mart["unique_id"]: entry | {"unique_id": mart["unique_id"]}},
        **{"sources": {}, "errors": None},
    }
    folder = tmp_path_factory.mktemp("site")
    documents.put(folder / "docs/index.html", documents._dbt_docs(manifest, catalog))
    documents.put(folder / "lineage/index.html", documents._lineage_page(manifest, catalog))
    return folder


def test_dbts_docs_show_rows_and_size_and_who_answers(browser: Browser, site: Path) -> None:
    where = "#!/model/model.lakehouse.inventory_daily"
    seen = look(browser, site / "docs/index.html", where).inner_text("body")
    told = re.sub(r"\s+", " ", seen)
    assert re.search(r"ROWS 4,321", told, re.IGNORECASE), told
    assert re.search(r"SIZE 7 MB", told, re.IGNORECASE), told
    assert "Lead of the shop" in told
    assert "public" in told


def test_dbts_docs_begin_with_the_overview(browser: Browser, site: Path) -> None:
    seen = look(browser, site / "docs/index.html").inner_text("body")
    for word in ("Layers", "Keys", "How to read it", "gold.<mart>"):
        assert word in seen


def test_a_description_stays_text(browser: Browser, site: Path) -> None:
    for page in ("docs", "lineage"):
        assert look(browser, site / page / "index.html").title() != "taken"


def test_the_lineage_names_the_columns_that_a_column_comes_from(
    browser: Browser, site: Path
) -> None:
    where = "#/model/model.lakehouse.inventory_daily"
    told = look(browser, site / "lineage/index.html", where).inner_text("main")
    assert re.search(r"sold\s.*int_stock_days\s*\.sold", told, re.DOTALL), told


def test_the_lineage_offers_no_chat_and_no_grade(browser: Browser, site: Path) -> None:
    seen = look(browser, site / "lineage/index.html")
    told = seen.inner_text("body")
    assert "Layers" in told
    for word in ("Health", "ERD", "naming convention"):
        assert word.lower() not in told.lower()
    assert not seen.locator("[title^='AI Chat']").is_visible()


@pytest.mark.parametrize("page", ["docs", "lineage"])
def test_the_pages_of_others_fit_a_phone(browser: Browser, site: Path, page: str) -> None:
    seen = look(browser, site / page / "index.html")
    seen.set_viewport_size({"width": 390, "height": 844})
    assert seen.evaluate("document.documentElement.scrollWidth") <= 390
    title = seen.get_by_role("heading", name="Lakehouse").first.bounding_box()
    assert title["x"] < 100  # no list beside it


@pytest.mark.parametrize("page", ["docs", "lineage"])
def test_the_pages_of_others_lead_back_to_the_start(
    browser: Browser, site: Path, page: str
) -> None:
    (site / "index.html").write_text("<title>Start</title>")
    seen = look(browser, site / page / "index.html")
    seen.get_by_text("To the start page").click()
    seen.wait_for_url((site / "index.html").as_uri())


@pytest.mark.parametrize("page", ["docs", "lineage"])
def test_a_page_may_ask_nobody_for_anything(browser: Browser, site: Path, page: str) -> None:
    blocked = look(browser, site / page / "index.html").evaluate(
        "new Promise(tell => { addEventListener('securitypolicyviolation', event => "
        "tell(event.blockedURI)); fetch('http://127.0.0.1:9/').catch(() => "
        "setTimeout(tell, 500, 'it was asked')) })"
    )
    assert blocked == "http://127.0.0.1:9/"
