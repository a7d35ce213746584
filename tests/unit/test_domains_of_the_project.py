"""What a domain consists of, as dbt's manifest and dbt_project.yml have it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
import yaml

from lakehouse.settings import PROJECT

VARS = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]
DOMAINS: dict[str, list[str]] = VARS["domains"]
# What belongs to the domains, what names schemas, and the report time: that a run refuses.
NO_ANSWERS = {"domains", "slim", "as_of"}
TOGETHER = {"rejects", "unmatched", "conflicts"}


def of_type(manifest: Any, *types: str) -> list[Any]:
    return [node for node in manifest.nodes.values() if node.resource_type in types]


def domains_of(manifest: Any, node: Any) -> set[str | None]:
    """The domains of a node and of what it reads; of a source those of the staging models on it."""
    found = set()
    for one in [*node.depends_on.nodes, getattr(node, "unique_id", "")]:
        if one in manifest.sources:
            readers = [
                model for model in of_type(manifest, "model") if one in model.depends_on.nodes
            ]
            found |= {reader.config.meta.get("domain") for reader in readers}
        elif one in manifest.nodes and manifest.nodes[one].resource_type != "test":
            found.add(manifest.nodes[one].config.meta.get("domain"))
    return found


def test_every_node_has_a_domain_but_those_that_bring_domains_together(manifest: Any) -> None:
    nodes = of_type(manifest, "model", "seed", "snapshot")
    assert {node.name for node in nodes if "domain" not in node.config.meta} == TOGETHER
    for domain in DOMAINS:
        assert domain in {node.config.meta.get("domain") for node in nodes}


def test_a_domain_is_a_group_with_an_owner(manifest: Any) -> None:
    nodes = of_type(manifest, "model", "seed", "snapshot")
    groups = {node.name: node.config.group for node in nodes}
    assert groups == {node.name: node.config.meta.get("domain") for node in nodes}
    assert {group.name for group in manifest.groups.values() if group.owner.name} == set(DOMAINS)


def test_no_node_reads_another_domains(manifest: Any) -> None:
    nodes = [*of_type(manifest, "model", "snapshot", "test"), *manifest.unit_tests.values()]
    found = {node.name: domains_of(manifest, node) for node in nodes if node.name not in TOGETHER}
    assert {name: of for name, of in found.items() if of not in [{one} for one in DOMAINS]} == {}


def test_what_brings_domains_together_names_every_domain(manifest: Any) -> None:
    for name in TOGETHER:
        together = manifest.nodes[f"model.lakehouse.{name}"]
        of_domains = [f"model.lakehouse.{domain}_{name}" for domain in DOMAINS]
        assert together.depends_on.nodes == of_domains
        for one in of_domains:
            assert types(manifest.nodes[one]) == types(together)


def types(node: Any) -> list[tuple[str, str]]:
    return [(name, column.data_type) for name, column in node.columns.items()]


def texts(manifest: Any, nodes: list[Any]) -> Iterator[str]:
    """The text of these nodes and of all macros of the project that they call."""
    todo = [one for node in nodes for one in node.depends_on.macros]
    seen = set()
    while todo:
        macro = manifest.macros[todo.pop()]
        if macro.package_name == "lakehouse" and macro.unique_id not in seen:
            seen.add(macro.unique_id)
            todo += macro.depends_on.macros
            yield macro.macro_sql
    for node in nodes:
        yield node.raw_code


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_domains_list_has_the_vars_that_its_nodes_read(manifest: Any, domain: str) -> None:
    nodes = [
        node
        for node in of_type(manifest, "model", "snapshot")
        if node.config.meta.get("domain") == domain
    ]
    above = {one for node in nodes for one in node.depends_on.nodes}
    sources = {manifest.sources[one].source_name for one in above & manifest.sources.keys()}
    names = set()
    for text in texts(manifest, nodes):
        for start, name in re.findall(r"""\bvar\((source_name ~ )?['"](\w+)""", text):
            names |= {f"{source}{name}" for source in sources} if start else {name}
    assert sorted(DOMAINS[domain]) == sorted(names - NO_ANSWERS)


def test_every_var_that_changes_answers_stands_in_a_list() -> None:
    assert {name for names in DOMAINS.values() for name in names} == VARS.keys() - NO_ANSWERS


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_domains_demo_asks_for_what_its_marts_have(manifest: Any, domain: str) -> None:
    database = duckdb.connect()
    database.execute("create schema gold")
    for node in of_type(manifest, "model"):
        if "marts" in node.fqn and node.config.meta["domain"] == domain:
            columns = ", ".join(f"{name} {data_type}" for name, data_type in types(node))
            database.execute(f"create table gold.{node.name} ({columns})")
    *questions, rest = (PROJECT / "docs" / "demo" / f"{domain}.sql").read_text().split(";")
    assert questions
    assert not rest.strip()
    for question in questions:
        assert question.strip().startswith("-- ")
        database.execute(question)


def test_a_demo_of_no_domain_is_refused_before_anything_is_installed() -> None:
    asked = ["make", "--no-print-directory", "demo", "DOMAIN=nonsense"]
    answer = subprocess.run(asked, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert f"nonsense has no demo. Choose from: {' '.join(sorted(DOMAINS))} all." in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert answer.stdout == ""
