"""The commands of docs/environments.md, on a home that is new: history into it, and back again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.domains import DOMAINS
from tests.support.lakehouse import Lakehouse, run

pytestmark = pytest.mark.deep

WEARABLES = DOMAINS["wearables"]
STORY = {"minutes": 10, "users": 3}


def test_history_into_a_new_environment_and_back_from_what_came_then(
    lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, newer = WEARABLES.files(7, STORY), WEARABLES.files(8, STORY)
    for file in old:
        path = tmp_path / file.table / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
    for folder in sorted(tmp_path.iterdir()):
        run(lakehouse, "ingest", "--history", folder, "--into", folder.name)
    assert "published up to load" in run(lakehouse, "run", "--once").stderr
    first = lakehouse.gold()
    told = WEARABLES.answers(old)
    assert first == {mart: sorted(told[mart], key=repr) for mart in WEARABLES.marts}

    lakehouse.deliver_files(newer)
    assert "published up to load" in run(lakehouse, "run", "--once").stderr
    second = lakehouse.gold()
    told = WEARABLES.answers([*old, *newer])
    assert second == {mart: sorted(told[mart], key=repr) for mart in WEARABLES.marts}

    listed = json.loads(run(lakehouse, "--json", "restore", "wearables").stdout)
    assert [(one["shown"], one["gone"]) for one in listed] == [(True, ""), (False, "")]
    number = listed[1]["publication"]
    run(lakehouse, "restore", "wearables", "--to", str(number))
    assert lakehouse.gold() == first
    held = "nothing new; publishing is held, and readers see load"
    assert f"wearables: {held}" in run(lakehouse, "run", "--once").stderr
    [domain] = json.loads(run(lakehouse, "--json", "status").stdout)["domains"]
    assert (domain["held"], domain["published"]) == (number, listed[1]["load"])
    run(lakehouse, "restore", "wearables", "--release")
    assert lakehouse.gold() == first
    assert "published up to load" in run(lakehouse, "run", "--once").stderr
    assert lakehouse.gold() == second

    monkeypatch.setenv("LAKEHOUSE_ENVIRONMENT", "prod")
    refused = run(lakehouse, "status", check=False)
    assert refused.returncode == 2
    assert "is the home of dev, and LAKEHOUSE_ENVIRONMENT is prod" in refused.stderr
