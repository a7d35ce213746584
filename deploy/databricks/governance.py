"""Who may see what, as one script of Unity Catalog: governance.py TARGET [--part ...] [--apply].

access.yml says which group sees which layer, dbt's manifest which tables there are and which of
their columns are personal (`meta.pii`). The script may be run as often as one likes:

    storage  the catalog, its schemas, volumes, grants and masks; once, by an admin
    tables   what each table of a masked layer needs; after each build, by the pipeline
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# Databricks runs a file without telling it where it lies, in its folder.
sys.path.insert(0, str(Path(globals().get("__file__") or Path.cwd() / "x").resolve().parent))

from targets import LAYERS, PIPELINE, PROJECT, SettingError, Target, read_access, read_target

EVERYBODY = "account users"
# By what a layer holds; in `files` lie the volumes.
_COMMENTS = {
    "bronze": "What came, as it came",
    "silver": "Parsed, deduplicated, matched",
    "snapshots": "Every version of what changes",
    "gold_build": "Answers that are being built and tested",
    "gold": "Answers, tested and published",
    "audit": "Loads, rejects, conflicts",
    "files": "Files, before they are rows",
    "governance": "What masks personal data",
}
# The folders of an installation's home that are needed there, each a volume.
VOLUMES = {
    "inbox": "Where files are delivered, a folder a table",
    "history": "Old files, a folder a year, in it a folder a table",
    "landing": "What has passed the gate",
    "archive": "What bronze has",
    "quarantine": "What was refused, with the reason",
    "checkpoints": "What the streams have read",
    "scratch": "Nothing that has to be kept",
    "site": "Pages for people",
}
# Of the types that personal columns have: the tag's value, and what is seen instead.
_MASKS = {
    "string": ("text", "case when value is not null then '***' end"),
    "date": ("date", "cast(null as date)"),
}
# Who has one of these sees what is personal, too.
_SEE = ("all", "write")
# Statements that the linter's dialect does not know, told by how they begin.
_UNKNOWN_TO_LINTER = (
    r"create external location|create or replace policy|revoke .* on (metastore|ext)"
)


@dataclass(frozen=True)
class Relation:
    """A table or view that dbt makes.

    Attributes:
        layer: Its schema.
        name: Its name.
        is_table: Whether it keeps rows of its own.
        personal: The columns that `meta.pii` marks, each with its type.
    """

    layer: str
    name: str
    is_table: bool
    personal: dict[str, str]


def relations_of(manifest: dict[str, Any]) -> list[Relation]:
    """The tables and views of dbt's manifest, by name.

    Raises:
        SettingError: A personal column has a type for which there is no mask.
    """
    relations = []
    for node in manifest["nodes"].values():
        if node["resource_type"] not in ("model", "seed", "snapshot"):
            continue
        personal = {
            name: (column.get("data_type") or "").lower()
            for name, column in node["columns"].items()
            if (column.get("config", {}).get("meta") or column.get("meta") or {}).get("pii")
        }
        if strange := [name for name, of in personal.items() if of not in _MASKS]:
            raise SettingError(
                f"{node['name']}: {', '.join(strange)}: there is no mask for this type. Add one to "
                "_MASKS in deploy/databricks/governance.py."
            )
        is_table = node["config"]["materialized"] not in ("view", "ephemeral")
        layer = node["config"]["schema"] or node["schema"]
        relations.append(Relation(layer, node["alias"], is_table, personal))
    return sorted(relations, key=lambda relation: (relation.layer, relation.name))


def parse_project() -> dict[str, Any]:
    """Dbt's manifest of the project as it is here; nothing is asked of any workspace.

    Raises:
        SettingError: Dbt cannot parse the project.
    """
    from dbt.cli.main import dbtRunner  # noqa: PLC0415 - it takes seconds

    with tempfile.TemporaryDirectory() as folder:
        nowhere = {"type": "databricks", "host": "h", "http_path": "p", "token": "t", "schema": "s"}
        profile = {"lakehouse": {"target": "none", "outputs": {"none": nowhere}}}
        (Path(folder) / "profiles.yml").write_text(yaml.safe_dump(profile))
        places = {"project-dir": PROJECT, "profiles-dir": folder, "target-path": folder}
        options = [of for name, path in places.items() for of in (f"--{name}", str(path))]
        answer = dbtRunner().invoke(
            ["--quiet", "--log-path", folder, "parse", "--no-partial-parse", *options]
        )
    if not answer.success:
        raise SettingError(f"dbt cannot parse the project: {answer.exception}. Run: dbt parse")
    manifest: dict[str, Any] = answer.result.to_dict()
    return manifest


def storage_statements(target: Target, access: dict[str, dict[str, str]]) -> Iterator[str]:
    """The catalog, its schemas and volumes, who may use them, and the masks."""
    target.check_filled("storage", "credential", "run_as")
    catalog, storage = target.catalog, target.storage.rstrip("/")
    for privilege in ("create catalog", "create external location", "create storage credential"):
        yield f"revoke {privilege} on metastore from `{EVERYBODY}`"
    for kind in ("managed", "files"):
        location = f"`{catalog}_{kind}`"
        yield (
            f"create external location if not exists {location}\n"
            f"    url '{storage}/{kind}' with (storage credential `{target.credential}`)"
        )
        yield f"revoke all privileges on external location {location} from `{EVERYBODY}`"
    yield f"create catalog if not exists {catalog} managed location '{storage}/managed'"
    yield f"revoke all privileges on catalog {catalog} from `{EVERYBODY}`"
    for layer, comment in _COMMENTS.items():
        yield f"create schema if not exists {catalog}.{layer} comment '{comment}'"
        yield f"revoke all privileges on schema {catalog}.{layer} from `{EVERYBODY}`"
    # Compaction would make versions that nobody has published, and remove those that readers see.
    yield f"alter schema {catalog}.gold_build disable predictive optimization"
    for volume, comment in VOLUMES.items():
        yield (
            f"create external volume if not exists {catalog}.files.{volume}\n"
            f"    location '{storage}/files/{volume}' comment '{comment}'"
        )
    yield from _mask_statements(target, access)
    for group, layers in access.items():
        yield from _grant_statements(target, group, layers)


def _grant_statements(target: Target, group: str, layers: dict[str, str]) -> Iterator[str]:
    who = f"`{_principal(target, group)}`"
    if group != PIPELINE:  # which may be at work
        yield f"revoke all privileges on catalog {target.catalog} from {who}"
    if layers:
        more = ", create schema" if group == PIPELINE else ""
        yield f"grant use catalog{more} on catalog {target.catalog} to {who}"
    for layer in LAYERS:
        schema = f"schema {target.catalog}.{layer}"
        if group != PIPELINE:
            yield f"revoke all privileges on {schema} from {who}"
        match layers.get(layer), layer:
            case "write", "files":
                yield f"grant use schema, read volume, write volume on {schema} to {who}"
            case "write", _:
                yield f"grant use schema, select, modify, create table on {schema} to {who}"
            case "masked", _:  # the rest table by table, once its columns are marked
                yield f"grant use schema on {schema} to {who}"
            case "all", "files":
                yield f"grant use schema, read volume on {schema} to {who}"
            case "all", _:
                yield f"grant use schema, select on {schema} to {who}"


def _mask_statements(target: Target, access: dict[str, dict[str, str]]) -> Iterator[str]:
    """Masks for everybody but those who see all: who is in two groups sees what either may."""
    catalog = target.catalog
    for data_type, (kind, instead) in _MASKS.items():
        yield (
            f"create or replace function {catalog}.governance.mask_{kind} (value {data_type})\n"
            f"returns {data_type}\n"
            f"return {instead}"
        )
    for layer in LAYERS:
        words = {group: layers.get(layer) for group, layers in access.items()}
        if "masked" not in words.values():
            continue
        seeing = [f"`{_principal(target, of)}`" for of, word in words.items() if word in _SEE]
        for kind, _ in _MASKS.values():
            yield (
                f"create or replace policy mask_{kind} on schema {catalog}.{layer}\n"
                f"    column mask {catalog}.governance.mask_{kind}\n"
                f"    to `{EVERYBODY}` except {', '.join(seeing)}\n"
                f"    for tables match columns has_tag_value('pii', '{kind}') as personal\n"
                f"    on column personal"
            )


def table_statements(
    target: Target, access: dict[str, dict[str, str]], relations: Iterable[Relation]
) -> Iterator[str]:
    """The marks of each table of a masked layer, and only then who may read it."""
    for relation in relations:
        groups = [group for group, of in access.items() if of.get(relation.layer) == "masked"]
        if not groups or not relation.is_table:
            continue
        table = f"{target.catalog}.{relation.layer}.{relation.name}"
        for column, data_type in relation.personal.items():
            kind, _ = _MASKS[data_type]
            yield f"alter table {table} alter column {column} set tags ('pii' = '{kind}')"
        for group in groups:
            yield f"grant select on table {table} to `{_principal(target, group)}`"


def _principal(target: Target, group: str) -> str:
    return target.run_as if group == PIPELINE else group


def script_of(statements: Iterable[str]) -> str:
    """The statements as a script for the SQL editor; the linter passes over what it cannot know."""
    lines = []
    for statement in statements:
        first, *rest = f"{statement};".split("\n")
        if re.match(_UNKNOWN_TO_LINTER, statement):
            first += " -- noqa: PRS"
        lines.append("\n".join([first, *rest]))
    return "\n\n".join(lines) + "\n"


def main(arguments: list[str]) -> None:
    """Runs the script.

    Raises:
        SystemExit: It cannot. Where all went well nothing is raised: Databricks takes an exit for a
            failure, whatever its code.
    """
    parser = argparse.ArgumentParser(description="Who may see what, for Unity Catalog.")
    parser.add_argument("target", metavar="TARGET", help="of targets.yml")
    parser.add_argument("--part", choices=("storage", "tables"), help="by default both")
    parser.add_argument("--apply", action="store_true", help="run it in Databricks' own session")
    given = parser.parse_args(arguments)
    try:
        target, access = read_target(given.target), read_access()
        statements: list[str] = []
        if given.part != "tables":
            statements += storage_statements(target, access)
        if given.part != "storage":
            statements += table_statements(target, access, relations_of(parse_project()))
    except SettingError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    if not given.apply:
        print(script_of(statements), end="")
        return
    from pyspark.sql import SparkSession  # noqa: PLC0415 - it is Databricks' own

    spark = SparkSession.builder.getOrCreate()
    for statement in statements:
        spark.sql(statement)
    print(f"{len(statements)} statements.")


if __name__ == "__main__":
    main(sys.argv[1:])
