"""A home whose landing and checkpoints are in storage; what stands there is asked of boto3."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import boto3
import pytest

from ingestion.checkpoint import begin_anew, is_begun, note_of
from ingestion.declaration import SourceTable, read_declarations
from ingestion.gate import (
    StillBeingWritten,
    archive_landed,
    inspect,
    land,
    landed_files,
    quarantine,
    withdrawn,
)
from ingestion.home import Home
from ingestion.stored import Stored
from lakehouse.settings import PROJECT
from tests.support.cluster import STORAGE

pytestmark = pytest.mark.usefixtures("storage")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, Stored.at(STORAGE))


@pytest.fixture(scope="module")
def table() -> SourceTable:
    return read_declarations(PROJECT / "models")["retail.clicks"]


def _objects() -> dict[str, bytes]:
    """All that is in the bucket, but for marks of folders."""
    client = boto3.client("s3")
    found = client.list_objects_v2(Bucket="lakehouse").get("Contents", [])
    keys = [entry["Key"] for entry in found if not entry["Key"].endswith("/")]
    return {key: client.get_object(Bucket="lakehouse", Key=key)["Body"].read() for key in keys}


def _delivered(home: Home, table: SourceTable, name: str, content: bytes) -> Path:
    path = home.inbox / table.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


_LINE = b'{"click_id": "1"}\n'


def test_an_accepted_file_is_in_storage_and_no_more_on_the_disk(
    home: Home, table: SourceTable
) -> None:
    contents = {"a.json": _LINE, "name with ü.json": _LINE * 2, "b.json.gz": gzip.compress(_LINE)}
    for name, content in contents.items():
        path = _delivered(home, table, name, content)
        land(home, inspect(path, table, home.inbox / table.folder))
        assert not path.exists()
    assert sorted(_objects().values()) == sorted(contents.values())
    assert all(key.startswith("shared/landing/retail.clicks/") for key in _objects())
    assert len(landed_files(home, table.folder)) == 3
    assert archive_landed(home, table.folder) == 3
    assert all(key.startswith("shared/archive/retail.clicks/") for key in _objects())
    assert not landed_files(home, table.folder)


def test_a_file_that_changes_on_its_way_does_not_land(
    home: Home, table: SourceTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _delivered(home, table, "a.json", _LINE)
    found = inspect(path, table, home.inbox / table.folder)
    take = Stored.take

    def take_slowly(target: Stored, file: Path) -> None:
        take(target, file)
        file.write_bytes(_LINE * 3)
        os.utime(file, (1, 1))

    monkeypatch.setattr(Stored, "take", take_slowly)
    with pytest.raises(StillBeingWritten):
        land(home, found)
    assert _objects() == {}
    assert path.read_bytes() == _LINE * 3


def test_a_landed_file_that_the_engine_cannot_read_comes_back_into_quarantine(
    home: Home, table: SourceTable
) -> None:
    path = _delivered(home, table, "a.json.gz", content := gzip.compress(_LINE))
    land(home, inspect(path, table, home.inbox / table.folder))
    [landed] = landed_files(home, table.folder).values()
    refused = quarantine(home, withdrawn(home, table, landed, "it cannot be read"))
    assert refused.read_bytes() == content
    assert refused.is_relative_to(home.quarantine)
    assert _objects() == {}


def test_a_checkpoint_that_begins_anew_keeps_its_note_alone(home: Home) -> None:
    checkpoint = home.checkpoints / "retail.clicks"
    assert note_of(checkpoint) is None
    for name in ("metadata", "commits/0", "offsets/0"):
        (checkpoint / name).write_text("{}")
    assert is_begun(checkpoint)
    begin_anew(checkpoint, "17")
    assert not is_begun(checkpoint)
    assert note_of(checkpoint) == "17"
    assert _objects() == {"shared/checkpoints/retail.clicks/forgotten": b"17"}


def test_a_note_that_a_crash_broke_off_counts(home: Home) -> None:
    checkpoint = home.checkpoints / "retail.clicks"
    for name, text in (("metadata", "{}"), ("commits/0", "{}"), (".forgotten", "18")):
        (checkpoint / name).write_text(text)
    assert not is_begun(checkpoint)
    assert _objects() == {"shared/checkpoints/retail.clicks/forgotten": b"18"}


@pytest.mark.parametrize("address", ["s3://a/b", "/a/b", "s3a://x", "s3a://bucket/a b", "s3a:///a"])
def test_what_is_no_address_of_storage_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is no address like s3a://bucket/folder"):
        Stored.at(address)
