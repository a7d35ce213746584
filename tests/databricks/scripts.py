"""The scripts of deploy/databricks, which lie in no package, and a target for them."""

from __future__ import annotations

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / "deploy" / "databricks"
if str(FOLDER) not in sys.path:
    sys.path.insert(0, str(FOLDER))

import governance  # noqa: E402
import integration_test  # noqa: E402
import job  # noqa: E402
import targets  # noqa: E402

import deploy  # noqa: E402

__all__ = [
    "COMMIT",
    "FOLDER",
    "PROJECT",
    "TARGET",
    "deploy",
    "governance",
    "integration_test",
    "job",
    "targets",
]

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TARGET = targets.Target(
    name="test",
    catalog="lakehouse_test",
    storage="s3://bucket/test",
    credential="lakehouse",
    warehouse_id="a1b2c3",
    run_as="11111111-2222-3333-4444-555555555555",
    notify=["ops@example.com"],
    trigger={"schedule": "0 0 3 * * ?"},
    years=[2025, 2026],
    git_url="https://git.example.com/lakehouse.git",
    git_provider="gitHub",
)
