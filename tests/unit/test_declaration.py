from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from ingestion.bronze import METADATA_COLUMNS
from ingestion.declaration import Column, DeclarationError, SourceTable, read_declarations
from ingestion.feeds.postgres.declared import Postgres, pulled_part

MODELS = Path(__file__).parents[2] / "models"


def visits(**landing: Any) -> dict[str, Any]:
    return {
        "name": "visits",
        "identifier": "gyms_visits",
        "config": {
            "meta": {
                "landing": {
                    "format": "csv",
                    "key": ["mac", "login"],
                    **landing,
                }
            }
        },
        "columns": [
            {"name": "mac", "data_type": "string"},
            {"name": "login", "data_type": "string"},
            {"name": "_load_id", "data_type": "bigint"},
        ],
    }


def write(models: Path, *tables: Any, source: str = "gyms") -> Path:
    folder = models / "staging" / source
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"_{source}__sources.yml"
    document = {"version": 2, "sources": [{"name": source, "tables": list(tables)}]}
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return models


def test_the_projects_own_declarations() -> None:
    tables = read_declarations(MODELS)
    read = {name for name, table in tables.items() if table.read_rescued == {"_op", "_OP"}}
    assert read == {name for name in tables if name.startswith("retail.")} - {"retail.clicks"}
    assert tables["sbit.gym_logins"] == SourceTable(
        source="sbit",
        name="gym_logins",
        identifier="sbit_gym_logins",
        columns=(
            Column("mac_address", "string"),
            Column("gym", "string"),
            Column("login", "string"),
            Column("logout", "string"),
        ),
        format="csv",
        key=("mac_address", "gym", "login", "logout"),
        unknown_columns="rescue",
        technical=(
            *(Column(name, type_) for name, type_ in METADATA_COLUMNS.items()),
            Column("_pull_id", "bigint"),
            Column("_pulled_at", "timestamp"),
            Column("_op", "string"),
            Column("_pull_key", "string"),
        ),
        feeds={
            "postgres": Postgres(
                table=("public", "gym_visits"),
                key=("id",),
                changed_at="updated_at",
                columns=(
                    ("login", "trim_scale(extract(epoch from login))"),
                    ("logout", "trim_scale(extract(epoch from logout))"),
                ),
                compare_every=timedelta(hours=1),
            )
        },
    )
    assert tables["sbit.gym_logins"].full_name == "sbit.gym_logins"
    assert tables["sbit.gym_logins"].bronze_name == "bronze.sbit_gym_logins"
    assert tables["sbit.kafka_multiplex"].format == "json"
    assert list(tables) == sorted(tables)


def test_yaml_anchors_and_jinja(tmp_path: Path) -> None:
    folder = write(tmp_path) / "staging" / "gyms"
    (folder / "_gyms__sources.yml").write_text(
        """
sources:
  - name: gyms
    schema: "{{ 'bronze' }}"
    tables:
      - name: b
        identifier: gyms_b
        config: &config {meta: {landing: {format: json, key: [id], unknown_columns: fail}}}
        columns: &columns
          - {name: id, data_type: string}
          - {name: _raw, data_type: string}
      - {name: a, identifier: gyms_a, config: *config, columns: *columns}
""",
        encoding="utf-8",
    )
    tables = read_declarations(tmp_path)
    assert list(tables) == ["gyms.a", "gyms.b"]
    assert tables["gyms.a"].columns == (Column("id", "string"),)
    assert tables["gyms.a"].unknown_columns == "fail"


def test_only_tables_with_landing_take_part(tmp_path: Path) -> None:
    write(tmp_path, {"name": "pulled", "config": None}, visits())
    assert list(read_declarations(tmp_path)) == ["gyms.visits"]


def test_parquet_keeps_types(tmp_path: Path) -> None:
    table = visits(format="parquet")
    table["columns"][1]["data_type"] = "decimal(18, 2)"
    column = read_declarations(write(tmp_path, table))["gyms.visits"].columns[1]
    assert column == Column("login", "decimal(18, 2)")


@pytest.mark.parametrize(
    ("landing", "message"),
    [
        ({"format": "xml"}, "format is 'xml'; allowed: csv, json, parquet"),
        ({"format": ["csv"]}, r"format is \['csv'\]; allowed"),
        ({"unknown_columns": "keep"}, "unknown_columns is 'keep'; allowed: rescue, fail"),
        ({"format": "json", "unknown_columns": None}, "is None; allowed: rescue, fail"),
        ({"key": []}, "key is empty; allowed: some of mac, login"),
        ({"key": "mac"}, "key is 'mac'; it must be a list"),
        ({"key": ["mac", "gym"]}, "column of the key is 'gym'; allowed: mac, login"),
        ({"key": ["_load_id"]}, "column of the key is '_load_id'; allowed: mac, login"),
        ({"key": ["mac", "mac"]}, "key: a name is there twice"),
        (
            {"keys": ["mac"]},
            "option of landing is 'keys'; allowed: format, key, unknown_columns, ",
        ),
    ],
)
def test_wrong_landing(tmp_path: Path, landing: dict[str, Any], message: str) -> None:
    write(tmp_path, visits(**landing))
    with pytest.raises(
        DeclarationError, match=rf"_gyms__sources.yml: table gyms.visits: .*{message}"
    ):
        read_declarations(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Vis.its"}, "table name is 'Vis.its'; allowed"),
        ({"identifier": "visits"}, "identifier is 'visits'; allowed: gyms_visits"),
        ({"columns": None}, "columns is None; it must be a list"),
        ({"columns": ["mac"]}, "an item of columns is 'mac'; it must be a mapping"),
        ({"columns": [{"name": "_raw", "data_type": "string"}]}, "no delivered column"),
        ({"columns": [{"name": "a`b", "data_type": "string"}]}, "column name is 'a`b'; allowed"),
        ({"columns": [{"name": "mac"}]}, "column mac: data_type is None; allowed: string, bigint"),
        (
            {"columns": [{"name": "mac", "data_type": "bigint"}]},
            "column mac: data_type is 'bigint'; csv columns .* allowed: string",
        ),
        (
            {"columns": [{"name": n, "data_type": "string"} for n in ("mac", "MAC")]},
            "columns: a name is there twice",
        ),
        ({"config": {"meta": {"landing": None}}}, "landing is None; it must be a mapping"),
        ({"config": {"meta": ["landing"]}}, "config.meta is .* it must be a mapping"),
    ],
)
def test_wrong_table(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write(tmp_path, {**visits(), **change})
    with pytest.raises(DeclarationError, match=rf"_gyms__sources.yml: table gyms\..*{message}"):
        read_declarations(tmp_path)


@pytest.mark.parametrize("data_type", ["decimal(39,2)", "decimal(18)", "varchar(3)", "STRING"])
def test_unknown_types(tmp_path: Path, data_type: str) -> None:
    table = visits(format="parquet")
    table["columns"][0]["data_type"] = data_type
    with pytest.raises(DeclarationError, match=r"column mac: data_type is .*; allowed: string"):
        read_declarations(write(tmp_path, table))


def test_two_tables_for_one_bronze_table(tmp_path: Path) -> None:
    write(tmp_path, visits() | {"name": "b_c", "identifier": "a_b_c"}, source="a")
    write(tmp_path, visits() | {"name": "c", "identifier": "a_b_c"}, source="a_b")
    with pytest.raises(DeclarationError, match=r"a_b\.c: bronze.a_b_c is declared already"):
        read_declarations(tmp_path)


@pytest.mark.parametrize("content", [b"sources: [", b"\xff", b"- a", b"sources: 1"])
def test_unreadable_file(tmp_path: Path, content: bytes) -> None:
    file = write(tmp_path) / "staging" / "gyms" / "_gyms__sources.yml"
    file.write_bytes(content)
    with pytest.raises(DeclarationError, match=r"_gyms__sources.yml: "):
        read_declarations(tmp_path)


def test_no_declaration_at_all(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"no table with config\.meta\.landing"):
        read_declarations(tmp_path)


def test_where_rows_are_pulled_from(tmp_path: Path) -> None:
    pulled = {"table": "Gym's.visits", "key": ["a key", "b"]}
    table = read_declarations(write(tmp_path, visits(postgres=pulled)))["gyms.visits"]
    assert table.feeds["postgres"] == Postgres(
        ("Gym's", "visits"), ("a key", "b"), None, (), None, Decimal("0.2")
    )
    pulled |= {"compare_every": "90s", "max_deleted_share": 1, "columns": {"login": "at::text"}}
    table = read_declarations(write(tmp_path, visits(postgres=pulled)))["gyms.visits"]
    spec = table.feeds["postgres"]
    assert spec.compare_every == timedelta(seconds=90)
    assert spec.max_deleted_share == 1
    assert spec.columns == (("login", "at::text"),)


def test_the_part_that_is_pulled(tmp_path: Path) -> None:
    table = read_declarations(
        write(tmp_path, visits(postgres={"table": "public.visits", "key": ["id"]}))
    )["gyms.visits"]
    part = pulled_part(table)
    assert (table.folder, part.folder) == ("gyms.visits", "gyms.visits.pulled")
    assert (part.full_name, part.bronze_name) == (table.full_name, table.bronze_name)
    assert (part.format, part.unknown_columns, part.part) == ("parquet", "fail", "pulled")
    assert part.columns == (
        Column("mac", "string"),
        Column("login", "string"),
        Column("_pull_key", "string"),
        Column("_pull_id", "bigint"),
        Column("_pulled_at", "timestamp"),
        Column("_op", "string"),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tables": "a.b"}, "option is 'tables'; allowed: table, key, changed_at, columns"),
        ({"table": "visits"}, r"table \(schema.name\) is 'visits'; allowed"),
        ({"table": "a.b.c"}, r"table \(schema.name\) is 'a.b.c'; allowed"),
        ({"table": 'a."b"'}, r"table \(schema.name\) is"),
        ({"table": None}, r"table \(schema.name\) is None; allowed"),
        ({"key": "id"}, "key is 'id'; it must be a list"),
        ({"key": []}, r"key is \[\]; name the columns"),
        ({"key": ["a", "a"]}, r"key is \['a', 'a'\]; name the columns"),
        ({"key": [1]}, "column of the key is 1; allowed"),
        ({"changed_at": ""}, "changed_at is ''; allowed"),
        ({"columns": ["login"]}, r"columns is \['login'\]; it must be a mapping"),
        ({"columns": {"gym": "1"}}, "a name in columns is 'gym'; allowed: mac, login"),
        ({"columns": {"mac": 1}}, "column mac is 1; it must be an SQL expression"),
        ({"columns": {"mac": " "}}, "column mac is ' '; it must be an SQL expression"),
        ({"compare_every": "0h"}, "compare_every is '0h'; allowed: a number and s, m, h or d"),
        ({"compare_every": 60}, "compare_every is 60; allowed"),
        ({"compare_every": "9999999d"}, "compare_every is '9999999d'; allowed"),
        ({"max_deleted_share": 1.1}, "max_deleted_share is 1.1; allowed: a number from 0 to 1"),
        ({"max_deleted_share": "all"}, "max_deleted_share is 'all'; allowed"),
        ({"max_deleted_share": True}, "max_deleted_share is True; allowed"),
        ({"max_deleted_share": float("nan")}, "max_deleted_share is nan; allowed"),
    ],
)
def test_wrong_pull(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write(tmp_path, visits(postgres={"table": "public.visits", "key": ["id"], **change}))
    with pytest.raises(DeclarationError, match=rf"table gyms.visits: postgres: {message}"):
        read_declarations(tmp_path)
