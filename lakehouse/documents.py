"""The documents of a lakehouse, as files that load nothing from elsewhere.

dbt compile ────────> manifest ─┬─> docs/<domain>.html      what refers to what
                                ├─> lineage/index.html      which column comes from which
dbt docs generate ──> catalog ──┴─> docs/index.html         dbt's docs
                         └─ rows and bytes of Delta tables, which the adapter leaves empty
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pyspark.sql import SparkSession

from ingestion.stored import Place
from lakehouse.build import Dbt
from lakehouse.diagrams import entities_of, page_of
from lakehouse.engine import local
from lakehouse.errors import LakehouseError
from lakehouse.lineage import lineage_of
from lakehouse.maintenance import sizes_told
from lakehouse.report.site import put
from lakehouse.settings import PROJECT, Settings, load_settings

# Both pages' own scripts and styles stand in them; dbt's works expressions out by `eval`.
_POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    'img-src data:; font-src data:">'
)
# Of docglow's page, what is not for here: a chat with a model elsewhere, a diagram that is empty,
# and a grade by other rules of naming and testing than this project's; on a phone, its list.
_NOT_HERE = (
    '<style>[title^="AI Chat"], aside div.border-t > button:nth-of-type(odd), '
    "main button.w-full.mb-8 { display: none } "
    "@media (max-width: 40rem) { .shrink-0:has(aside), header > a { display: none } }</style>"
)
# Of dbt's page on a phone: its search and text, without the list beside them.
_NARROW = (
    "<style>@media (max-width: 40rem) { .app-menu { display: none !important } "
    ".app { min-width: 0 !important } }</style>"
)
# The way back, which neither page has.
_BACK = (
    '<nav aria-label="Site"><a href="../index.html" style="position: fixed; left: .5rem; '
    "bottom: .5rem; z-index: 9999; padding: .2rem .6rem; border-radius: .3rem; "
    'background: #0b57a4; color: #fff">To the start page</a></nav>'
)
_ICON = re.compile(r'<link rel="(?:shortcut )?icon"[^>]*>')


def write(settings: Settings, site: Path, say: Callable[[str], None] = lambda _: None) -> None:
    """Writes dbt's docs, the diagrams of the domains and the lineage of columns.

    Each file takes the place of the one before at once; what fails leaves all as they were.

    Args:
        settings: The installation; its engine is started where need be.
        site: The folder that the pages go into, as `docs/` and `lineage/`.
        say: Told, again and again, how far it is.

    Raises:
        LakehouseError: Nothing is built yet, the engine cannot be started, or dbt failed.
    """
    say("Docs: models and tables ...")
    manifest, catalog = _artifacts(settings)
    say("Docs: rows and sizes ...")
    fill_in_sizes(catalog, local.session(settings), settings.paths.warehouse)
    say("Docs: the lineage of columns ...")
    pages = {
        "docs/index.html": _dbt_docs(manifest, catalog),
        "lineage/index.html": _lineage_page(manifest, catalog),
    }
    domains = {node["config"].get("meta", {}).get("domain") for node in manifest["nodes"].values()}
    for domain in sorted(domains - {None}):
        if entities := entities_of(manifest, domain):
            pages[f"docs/{domain}.html"] = page_of(domain, entities)
    for name, text in pages.items():
        put(site / name, text)


def _artifacts(settings: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest, each model compiled as its first build has it, and the catalog of dbt.

    By its first build a model is read and followed, and no engine is asked for it, so that a domain
    which is not built is there, too. The artifacts have a folder of their own: dbt reads the
    project anew where a variable has changed, and builds have theirs.
    """
    dbt = Dbt(settings, target="target/docs")
    os.environ["DBT_LINT"] = "1"
    try:
        dbt.parse()
        dbt("compile", "--select", "resource_type:model", "--indirect-selection", "empty")
    finally:
        del os.environ["DBT_LINT"]
    manifest = _read(dbt.target / "manifest.json")
    dbt("docs", "generate", "--no-compile")
    return manifest, _read(dbt.target / "catalog.json")


def _read(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def fill_in_sizes(catalog: dict[str, Any], spark: SparkSession, warehouse: Place) -> None:
    """Fills in the rows and bytes of the Delta tables of dbt's catalog; a view has none.

    The rows are counted, all in one statement. The bytes are those of the present version's files,
    as Delta writes them beside each version.

    Args:
        catalog: dbt's catalog.json, which is changed.
        spark: A session on the engine.
        warehouse: The folder of the tables, `<schema>.db/<table>`; elsewhere nothing is filled in.
    """
    sizes: list[tuple[dict[str, Any], str, int]] = []
    for entry in (*catalog["nodes"].values(), *catalog["sources"].values()):
        schema, name = entry["metadata"]["schema"], entry["metadata"]["name"]
        if versions := sizes_told(warehouse / f"{schema}.db" / name / "_delta_log"):
            told = json.loads(versions[-1].read_text())
            sizes.append((entry, f"{schema}.{name}", told["tableSizeBytes"]))
    if not sizes:
        return
    counts = spark.sql(
        " union all ".join(
            f"select {number} as number, count(*) as num_rows from {name}"
            for number, (_, name, _) in enumerate(sizes)
        )
    ).collect()
    for row in counts:
        entry, _, num_bytes = sizes[row["number"]]
        entry["stats"] = _stats(row["num_rows"], num_bytes)


def _stats(num_rows: int, num_bytes: int) -> dict[str, dict[str, Any]]:
    """Rows and bytes, as dbt's docs show what a catalog tells of a table."""
    told = [
        ("rows", "Rows", num_rows, "Rows at the time of these docs."),
        ("bytes", "Size", num_bytes, "Bytes of the table's files, older versions left out."),
    ]
    stats = {
        key: {"id": key, "label": label, "value": value, "include": True, "description": text}
        for key, label, value, text in told
    }
    has_any = {"id": "has_stats", "label": "Has Stats?", "value": True}
    return stats | {"has_stats": {**has_any, "include": False, "description": ""}}


def _dbt_docs(manifest: dict[str, Any], catalog: dict[str, Any]) -> str:
    """What `dbt docs generate --static` writes, with another catalog than the one it has read."""
    from dbt.task.docs import DOCS_INDEX_FILE_PATH  # noqa: PLC0415 - takes a second

    page = Path(DOCS_INDEX_FILE_PATH).read_text()
    # A template's address is asked for as it stands, before it is filled in: an error each.
    page = page.replace('xlink:href="{{', 'ng-attr-href="{{')
    # Where somebody's environment lets dbt tell its makers, its page would ask for their script.
    manifest = manifest | {"metadata": manifest["metadata"] | {"send_anonymous_usage_stats": False}}
    for name, artifact in (("MANIFEST", manifest), ("CATALOG", catalog)):
        page = page.replace(f'"{name}.JSON INLINE DATA"', _inline(artifact))
    return _alone(page, _NARROW)


def _inline(told: dict[str, Any]) -> str:
    """JSON inside a script, which no text in it can end."""
    return json.dumps(told, separators=(",", ":")).replace("<", "\\u003c")


def _lineage_page(manifest: dict[str, Any], catalog: dict[str, Any]) -> str:
    """Docglow's static page; what it lacks, the lineage of columns by schema, is worked out here.

    Its own needs the name of a database, which Spark's tables have none of.
    """
    # They are for these pages alone.
    from docglow.artifacts.loader import load_artifacts  # noqa: PLC0415
    from docglow.generator.bundle import bundle_site  # noqa: PLC0415
    from docglow.generator.data import build_docglow_data  # noqa: PLC0415

    logging.getLogger("docglow").setLevel(logging.ERROR)  # it tells which artifacts there are not
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        (folder / "catalog.json").write_text(json.dumps(catalog))
        told = build_docglow_data(load_artifacts(PROJECT, folder))
        told["metadata"]["project_name"] = "Lakehouse"
        told["column_lineage"] = lineage_of(manifest)
        bundle_site({}, folder, static=True)
        page = (folder / "index.html").read_text()
    return _alone(
        page.replace("__DOCGLOW_DATA__={}", f"__DOCGLOW_DATA__={_inline(told)}", 1), _NOT_HERE
    )


def _alone(page: str, style: str = "") -> str:
    """A page that may load nothing, whatever its scripts would, with a style and a way back."""
    page = _ICON.sub('<link rel="icon" href="data:,">', page, count=1)
    page = page.replace("<head>", f"<head>{_POLICY}{style}", 1)
    head, end, tail = page.rpartition("</body>")  # their scripts hold others
    return f"{head}{_BACK}{end}{tail}"


if __name__ == "__main__":
    try:
        here = load_settings()
        write(here, here.paths.root / "site", lambda message: print(message, file=sys.stderr))
        print((here.paths.root / "site" / "docs" / "index.html").as_uri())
    except LakehouseError as error:
        sys.exit(f"Error: {error}")
