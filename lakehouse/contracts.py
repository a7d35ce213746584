"""What readers of a release rely on: of dbt's manifest what its comparison of contracts reads.

target/manifest.json (3 MB) --python -m lakehouse.contracts--> contracts/manifest.json (30 KB)

`make lint` has dbt compare the project with it: a column that is gone, of another type, or a
contract that is not enforced any more is an error; a new column and a new mart are none.
"""

from __future__ import annotations

import json
from typing import Any

from lakehouse.settings import PROJECT

STATE = PROJECT / "contracts" / "manifest.json"
# dbt reads no manifest without all of its parts.
_LISTS = ("sources", "macros", "docs", "exposures", "metrics", "groups", "selectors", "disabled")
_MAPS = ("parent_map", "child_map", "group_map", "saved_queries", "semantic_models", "unit_tests")
# What a node must have to be read, then what is compared.
_OF_NODE = (
    *("database", "schema", "name", "resource_type", "package_name", "path", "original_file_path"),
    *("unique_id", "fqn", "alias", "checksum", "contract", "constraints", "deprecation_date"),
)
_OF_COLUMN = ("name", "data_type", "constraints")
_OF_CONFIG = ("enabled", "materialized")


def promised(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest of the nodes with enforced contracts alone, and of these what is compared.

    Args:
        manifest: dbt's manifest.json.
    """
    metadata = {name: manifest["metadata"][name] for name in ("dbt_schema_version", "adapter_type")}
    nodes = {
        unique_id: {
            **{name: node[name] for name in _OF_NODE},
            "config": {name: node["config"][name] for name in _OF_CONFIG},
            "columns": {
                key: {name: column[name] for name in _OF_COLUMN if column[name]}
                for key, column in node["columns"].items()
            },
        }
        for unique_id, node in manifest["nodes"].items()
        if node.get("contract", {}).get("enforced")
    }
    return {"metadata": metadata, "nodes": nodes} | {name: {} for name in (*_LISTS, *_MAPS)}


if __name__ == "__main__":
    read = json.loads((PROJECT / "target" / "manifest.json").read_text())
    STATE.parent.mkdir(exist_ok=True)
    STATE.write_text(json.dumps(promised(read), indent=1, sort_keys=True) + "\n")
