"""Who sees what: the script of Unity Catalog, read as a reader of each group would."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.databricks.scripts import FOLDER, PROJECT, TARGET, governance, targets

READERS, ANALYSTS, ENGINEERS = "lakehouse-readers", "lakehouse-analysts", "lakehouse-engineers"
PIPELINE = TARGET.run_as
EVERYBODY = "account users"
CATALOG = TARGET.catalog
SCHEMA_OF = {
    "models/staging": "silver",
    "models/intermediate": "silver",
    "models/marts": "gold_build",
    "models/audit": "audit",
    "snapshots": "snapshots",
    "seeds": "silver",
}
# By a relation's schema and name: whether it is a table, and its columns, personal or not.
Relations = dict[tuple[str, str], tuple[bool, dict[str, bool]]]


def relations() -> Relations:
    """What there is, from the project's files themselves."""
    found: Relations = {}
    for folder, schema in SCHEMA_OF.items():
        for file in sorted((PROJECT / folder).rglob("_*.yml")):
            written = yaml.safe_load(file.read_text())
            for kind in ("models", "snapshots", "seeds"):
                for node in written.get(kind, []):
                    columns = {one["name"]: _is_personal(one) for one in node.get("columns", [])}
                    sources = [*file.parent.glob(f"{node['name']}.sql")]
                    sql = sources[0].read_text() if sources else ""
                    is_view = "materialized='view'" in sql or schema == "audit"
                    is_view = is_view or folder == "models/staging"
                    of_its_own = re.search(r"schema='(\w+)'", sql)
                    of = of_its_own[1] if of_its_own else schema
                    found[of, node["name"]] = (not is_view, columns)
                    if of == "gold_build":  # readers see it through a view of the same name
                        found["gold", node["name"]] = (False, columns)
    for file in sorted((PROJECT / "models" / "staging").rglob("_*__sources.yml")):
        for source in yaml.safe_load(file.read_text())["sources"]:
            for table in source["tables"]:
                columns = {one["name"]: _is_personal(one) for one in table["columns"]}
                found["bronze", table["identifier"]] = (True, columns)
    return found


def _is_personal(column: dict[str, Any]) -> bool:
    return bool(column.get("config", {}).get("meta", {}).get("pii"))


@dataclass
class Unity:
    """What a script leaves behind. A statement that it does not know is an error."""

    grants: set[tuple[str, str, str]] = field(default_factory=set)  # who, privilege, on what
    tags: dict[tuple[str, str], str] = field(default_factory=dict)  # by table and column
    # Schema, function, to whom, but to whom not, and the tag's value.
    policies: dict[str, tuple[str, str, set[str], set[str], str]] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    locations: dict[str, str] = field(default_factory=dict)

    def run(self, script: str) -> Unity:
        for part in re.sub(r" -- noqa: PRS", "", script).split(";"):
            if statement := " ".join(part.split()):
                for pattern, act in _STATEMENTS.items():
                    if found := re.fullmatch(pattern, statement):
                        act(self, *found.groups())
                        break
                else:
                    raise AssertionError(f"nobody knows what this does: {statement}")
        return self

    def grant(self, privileges: str, on: str, who: str) -> None:
        self.grants |= {(who, one, on) for one in privileges.split(", ")}

    def revoke(self, privileges: str, on: str, who: str) -> None:
        gone = set(privileges.split(", "))
        self.grants -= {
            one
            for one in self.grants
            if (one[0], one[2]) == (who, on) and (one[1] in gone or "all privileges" in gone)
        }

    def policy(  # noqa: PLR0917 - as the statement has it
        self, name: str, schema: str, function: str, to: str, but: str, value: str
    ) -> None:
        named = set(re.findall(r"`(.*?)`", to)), set(re.findall(r"`(.*?)`", but or ""))
        self.policies[f"{schema}.{name}"] = (schema, function, *named, value)

    def _may(self, groups: set[str], privilege: str, *on: str) -> bool:
        return any(
            (who, one, place) in self.grants
            for who in groups | {EVERYBODY}
            for one in (privilege, "all privileges")
            for place in on
        )

    def sees(self, groups: set[str], there: Relations) -> dict[tuple[str, str, str], str]:
        """What somebody in these groups sees: each column, `plain` or `masked`."""
        seen = {}
        catalog = f"catalog {CATALOG}"
        for (layer, name), (is_table, columns) in there.items():
            schema, table = f"schema {CATALOG}.{layer}", f"table {CATALOG}.{layer}.{name}"
            if (
                self._may(groups, "use catalog", catalog)
                and self._may(groups, "use schema", catalog, schema)
                and self._may(groups, "select", catalog, schema, table)
            ):
                for column in columns:
                    hidden = is_table and self._is_masked(groups, layer, name, column)
                    seen[layer, name, column] = "masked" if hidden else "plain"
        return seen

    def _is_masked(self, groups: set[str], layer: str, name: str, column: str) -> bool:
        value = self.tags.get((f"{CATALOG}.{layer}.{name}", column))
        return any(
            schema == f"{CATALOG}.{layer}"
            and of == value
            and (to & groups or EVERYBODY in to)
            and not but & groups
            and re.fullmatch(
                r"cast\(null as date\)|case when value is not null then '\*+' end",
                self.functions[function],
            )
            for schema, function, to, but, of in self.policies.values()
        )

    def writes(self, groups: set[str]) -> set[tuple[str, str]]:
        """What somebody in these groups may change, and where."""
        reads = {"use catalog", "use schema", "select", "read volume"}
        may = {(one, on) for who, one, on in self.grants if who in groups | {EVERYBODY}}
        return {(one, on) for one, on in may if one not in reads}

    def files(self, groups: set[str]) -> bool:
        schema, catalog = f"schema {CATALOG}.files", f"catalog {CATALOG}"
        by_volume = self._may(groups, "read volume", schema, catalog) and self._may(
            groups, "use schema", schema, catalog
        )
        return by_volume or any(
            self._may(groups, one, f"external location {name}")
            for one in ("read files", "write files")
            for name in self.locations
        )


_ON = r"((?:metastore|catalog|schema|table|volume|external location)(?: `?[\w.]+`?)?)"
_STATEMENTS: dict[str, Callable[..., None]] = {
    rf"grant (.*) on {_ON} to `(.*)`": Unity.grant,
    rf"revoke (.*) on {_ON} from `(.*)`": Unity.revoke,
    r"alter table (\S+) alter column (\w+) set tags \('pii' = '(\w+)'\)": (
        lambda self, table, column, value: self.tags.update({(table, column): value})
    ),
    r"create or replace function (\S+) \(value \w+\) returns \w+ return (.*)": (
        lambda self, name, body: self.functions.update({name: body})
    ),
    (
        r"create or replace policy (\w+) on schema (\S+) column mask (\S+) to (.*?)(?: except (.*))?"  # noqa: E501
        r" for tables match columns has_tag_value\('pii', '(\w+)'\) as personal on column personal"
    ): Unity.policy,
    (
        r"create external location if not exists (\S+) url '(.*)' "
        r"with \(storage credential `\w+`\)"
    ): lambda self, name, url: self.locations.update({name: url}),
    r"create external volume if not exists \S+ location '(.*)' comment '.*'": (
        lambda self, url: self.locations.update({f"volume at {url}": url})
    ),
    r"create catalog if not exists \S+ managed location '.*'": lambda *_: None,
    r"create schema if not exists \S+ comment '.*'": lambda *_: None,
    rf"alter schema {CATALOG}.gold_build disable predictive optimization": lambda *_: None,
}


def theirs(there: Relations) -> dict[str, dict[tuple[str, str, str], str]]:
    """What each group is to see, in the words of the business."""
    columns = [
        (layer, name, column, is_table, is_personal)
        for (layer, name), (is_table, of) in there.items()
        for column, is_personal in of.items()
    ]
    everything = {(layer, name, column): "plain" for layer, name, column, *_ in columns}
    gold = {key: "plain" for key in everything if key[0] == "gold"}
    silver = {
        (layer, name, column): "masked" if is_personal else "plain"
        for layer, name, column, is_table, is_personal in columns
        if layer == "silver" and is_table
    }
    return {
        READERS: gold,
        ANALYSTS: gold | silver,
        ENGINEERS: everything,
        PIPELINE: everything,
        "somebody-else": {},
    }


def leaks(script: str, there: Relations) -> set[str]:
    """Who sees or may change what is not theirs, or does not see what is."""
    unity = Unity().run(script)
    found = {who for who, what in theirs(there).items() if unity.sees({who}, there) != what}
    found |= {who for who in theirs(there) if unity.writes({who}) and who != PIPELINE}
    found |= {who for who in theirs(there) if unity.files({who}) != (who in (ENGINEERS, PIPELINE))}
    return found


@pytest.fixture(scope="module")
def there() -> Relations:
    return relations()


@pytest.fixture(scope="module")
def of_dbt() -> list[governance.Relation]:
    return governance.relations_of(governance.parse_project())


@pytest.fixture(scope="module")
def script(of_dbt: list[governance.Relation]) -> str:
    access = targets.read_access()
    return governance.script_of(
        [
            *governance.storage_statements(TARGET, access),
            *governance.table_statements(TARGET, access, of_dbt),
        ]
    )


def test_each_group_sees_what_is_theirs_and_nothing_else(script: str, there: Relations) -> None:
    assert leaks(script, there) == set()
    unity = Unity().run(script)
    # So that the comparison is of something.
    seen = unity.sees({ANALYSTS}, there)
    assert seen["silver", "int_profile_changes", "first_name"] == "masked"
    assert seen["silver", "int_profile_changes", "user_id"] == "plain"
    assert seen["gold", "gym_summary", "mac_address"] == "plain"  # the business asked for it
    assert not [name for layer, name, _ in seen if name.startswith("stg_") or layer == "bronze"]
    assert ("snapshots", "user_profiles", "first_name") not in seen
    assert len([one for one in seen.values() if one == "masked"]) >= 20


def test_who_is_in_two_groups_sees_what_either_sees(script: str, there: Relations) -> None:
    unity = Unity().run(script)
    assert unity.sees({ANALYSTS, ENGINEERS}, there) == unity.sees({ENGINEERS}, there)
    assert unity.sees({READERS, ANALYSTS}, there) == unity.sees({ANALYSTS}, there)


def test_only_the_pipeline_writes(script: str) -> None:
    writes = Unity().run(script).writes({PIPELINE})
    layers = ("bronze", "silver", "snapshots", "gold_build", "gold", "audit")
    assert writes == {
        ("create schema", f"catalog {CATALOG}"),
        ("write volume", f"schema {CATALOG}.files"),
        *((one, f"schema {CATALOG}.{of}") for of in layers for one in ("modify", "create table")),
    }


PLANTED: dict[str, tuple[str, Callable[[str], str]]] = {
    "silver to readers": (
        READERS,
        lambda script: (
            script + f"grant use schema, select on schema {CATALOG}.silver to `{READERS}`;"
        ),
    ),
    "all of silver, its views too, to analysts": (
        ANALYSTS,
        lambda script: script + f"grant select on schema {CATALOG}.silver to `{ANALYSTS}`;",
    ),
    "gold to everybody": (
        "somebody-else",
        lambda script: (
            script + f"grant use catalog, use schema, select on catalog {CATALOG} to `{EVERYBODY}`;"
        ),
    ),
    "a column without its mark": (
        ANALYSTS,
        lambda script: re.sub(
            r"alter table \S+int_profile_changes alter column last_name.*?;", "", script
        ),
    ),
    "a mark of another value": (
        ANALYSTS,
        lambda script: script.replace(
            "born_on set tags ('pii' = 'date')", "born_on set tags ('pii' = 'day')"
        ),
    ),
    "no policy for dates": (
        ANALYSTS,
        lambda script: re.sub(r"create or replace policy mask_date.*?;", "", script, flags=re.S),
    ),
    "a policy that passes over analysts": (
        ANALYSTS,
        lambda script: script.replace("except `", f"except `{ANALYSTS}`, `", 1),
    ),
    "a mask that shows what it hides": (
        ANALYSTS,
        lambda script: script.replace("then '***' end", "then value end"),
    ),
    "a view of staging": (
        ANALYSTS,
        lambda script: (
            script
            + f"grant select on table {CATALOG}.silver.stg_telecom__customers to `{ANALYSTS}`;"
        ),
    ),
    "files by their path": (
        READERS,
        lambda script: (
            script + f"grant read files on external location `{CATALOG}_files` to `{READERS}`;"
        ),
    ),
    "volumes to analysts": (
        ANALYSTS,
        lambda script: (
            script + f"grant use schema, read volume on schema {CATALOG}.files to `{ANALYSTS}`;"
        ),
    ),
    "engineers that write": (
        ENGINEERS,
        lambda script: script + f"grant modify on schema {CATALOG}.gold to `{ENGINEERS}`;",
    ),
    "a catalog for everybody": (
        READERS,
        lambda script: script + f"grant create catalog on metastore to `{EVERYBODY}`;",
    ),
    "gold taken away": (
        READERS,
        lambda script: script + f"revoke select on schema {CATALOG}.gold from `{READERS}`;",
    ),
}


@pytest.mark.parametrize("leak", PLANTED)
def test_a_planted_leak_is_found(script: str, there: Relations, leak: str) -> None:
    who, plant = PLANTED[leak]
    planted = plant(script)
    assert planted != script
    assert who in leaks(planted, there)


def test_a_personal_column_is_personal_under_the_same_name_elsewhere(there: Relations) -> None:
    """So that a mark which somebody forgot is seen, wherever the column is marked once."""
    of_persons = {
        column for _, columns in there.values() for column, personal in columns.items() if personal
    }
    unmarked = {
        f"{name}.{column}"
        for (layer, name), (is_table, columns) in there.items()
        if layer == "silver" and is_table
        for column, personal in columns.items()
        if column in of_persons and not personal
    }
    assert unmarked == {"int_products_delivered.name"}  # a product is nobody


def test_running_it_again_changes_nothing(script: str) -> None:
    assert Unity().run(script + script) == Unity().run(script)


def test_rights_that_access_takes_away_are_taken_back(of_dbt: list[Any], there: Relations) -> None:
    wide = targets.read_access() | {READERS: dict.fromkeys(targets.LAYERS, "all")}
    script = governance.script_of(
        [
            *governance.storage_statements(TARGET, wide),
            *governance.storage_statements(TARGET, targets.read_access()),
            *governance.table_statements(TARGET, targets.read_access(), of_dbt),
        ]
    )
    assert leaks(script, there) == set()


def test_a_group_that_stays_without_a_layer_has_nothing_any_more(
    of_dbt: list[Any], there: Relations
) -> None:
    access = targets.read_access()
    none = access | {ANALYSTS: {}}
    script = governance.script_of(
        [
            *governance.storage_statements(TARGET, access),
            *governance.table_statements(TARGET, access, of_dbt),
            f"grant select on catalog {CATALOG} to `{ANALYSTS}`",  # by hand
            *governance.storage_statements(TARGET, none),
            *governance.table_statements(TARGET, none, of_dbt),
        ]
    )
    unity = Unity().run(script)
    assert unity.sees({ANALYSTS}, there) == {}
    left = {(one, on.split()[0]) for who, one, on in unity.grants if who == ANALYSTS}
    assert left == {("select", "table")}  # which without the catalog and the schema are nothing


def test_nobody_can_lay_anything_into_the_metastores_root(script: str) -> None:
    """All data lie in locations of their own, and only admins make new ones."""
    unity = Unity().run(
        "".join(
            f"grant {one} on metastore to `{EVERYBODY}`;"
            for one in ("create catalog", "create external location", "create storage credential")
        )
        + script
    )
    assert unity.writes({"somebody-else"}) == set()
    managed = re.findall(r"create catalog .* managed location '(.*)'", script)
    assert managed == ["s3://bucket/test/managed"]
    assert set(unity.locations.values()) == {
        "s3://bucket/test/managed",
        "s3://bucket/test/files",
        *(f"s3://bucket/test/files/{name}" for name in governance.VOLUMES),
    }


def test_the_script_passes_the_linter(script: str, tmp_path: Path) -> None:
    """But for the few kinds of statements that its dialect does not know."""
    (tmp_path / "governance.sql").write_text(script)
    options = ["lint", "--dialect", "databricks", "--templater", "raw", "--config"]
    linted = subprocess.run(
        [sys.executable, "-m", "sqlfluff", *options, PROJECT / ".sqlfluff", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr
    unknown = {
        line.split("-- noqa")[0].split("`")[0] for line in script.splitlines() if "noqa" in line
    }
    assert {" ".join(one.split()[:4]) for one in unknown} == {
        "create external location if",
        "create or replace policy",
        "revoke all privileges on",  # external location
        "revoke create catalog on",
        "revoke create external location",
        "revoke create storage credential",
    }


def test_a_personal_column_of_a_type_without_a_mask_is_refused() -> None:
    column = {"data_type": "double", "config": {"meta": {"pii": True}}}
    config = {"materialized": "table", "schema": "silver"}
    node = {"resource_type": "model", "name": "n", "columns": {"weight": column}, "config": config}
    with pytest.raises(targets.SettingError, match="n: weight: there is no mask for this type"):
        governance.relations_of({"nodes": {"n": node}})


@pytest.mark.parametrize(
    "wrong",
    [
        {READERS: {"platinum": "all"}},
        {READERS: {"gold": "write"}},
        {"pipeline": {"gold": "all"}},
        {READERS: {"files": "masked"}},
    ],
)
def test_access_that_cannot_be_is_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "access.yml").write_text(yaml.safe_dump(wrong))
    with pytest.raises(targets.SettingError, match="cannot be"):
        targets.read_access(tmp_path / "access.yml")


def test_the_script_is_printed_and_a_target_that_lacks_something_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as ended:
        governance.main(["prod", "--part", "storage"])
    assert ended.value.code == 2
    assert (
        "storage is empty. Fill it in, in deploy/databricks/targets.yml" in capsys.readouterr().err
    )
    monkeypatch.setattr(governance, "read_target", lambda _: TARGET)
    governance.main(["test", "--part", "storage"])
    assert capsys.readouterr().out.startswith("revoke create catalog on metastore")


def test_the_docs_show_the_same_table() -> None:
    told = (PROJECT / "docs" / "databricks.md").read_text()
    [table] = re.findall(r"\| group \|(?:.*\n)+?\n", told)
    header, _, *rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in table.splitlines()
        if line
    ]
    shown = {
        row[0]: {layer: word for layer, word in zip(header[1:], row[1:], strict=True) if word}
        for row in rows
    }
    assert shown == yaml.safe_load((FOLDER / "access.yml").read_text())
