"""The clean-up of a table's log, on files that look like one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lakehouse.maintenance import clean_log

NEWEST = 25
CHECKPOINTS = (10, 20)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Versions 0 to 25, checkpoints at 10 and 20, all of them long ago."""
    for version in range(NEWEST + 1):
        for name in (f"{version:020}.json", f".{version:020}.json.crc", f"{version:020}.crc"):
            (tmp_path / name).touch()
    for version in CHECKPOINTS:
        (tmp_path / f"{version:020}.checkpoint.parquet").touch()
    (tmp_path / "_last_checkpoint").touch()
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    return tmp_path


@pytest.mark.parametrize(
    ("oldest_read", "first"), [(None, 20), (25, 20), (20, 20), (19, 10), (10, 10), (9, 0)]
)
def test_a_version_that_is_read_keeps_its_checkpoint_and_what_follows(
    log: Path, oldest_read: int | None, first: int
) -> None:
    num_files = len(list(log.iterdir()))
    removed = clean_log(log, oldest_read, 1)
    left = sorted(path.name for path in log.iterdir())
    assert len(left) == num_files - removed
    assert [name for name in left if name.endswith(".json")] == [
        f"{version:020}.json" for version in range(first, NEWEST + 1)
    ]
    assert [name for name in left if name.endswith(".parquet")] == [
        f"{version:020}.checkpoint.parquet" for version in CHECKPOINTS if version >= first
    ]
    assert "_last_checkpoint" in left


def test_a_young_checkpoint_removes_nothing(log: Path) -> None:
    (log / f"{20:020}.checkpoint.parquet").touch()
    assert clean_log(log, None, 1) > 0
    assert (log / f"{10:020}.json").exists()
    assert not (log / f"{9:020}.json").exists()
