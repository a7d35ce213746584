"""Storage alone, and a whole cluster, for all tests that ask for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ingestion import stored
from tests.support.cluster import Cluster, environment, running_cluster, running_storage


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A master, two workers, a catalog and storage."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Empty storage, which the environment names."""
    log = tmp_path_factory.mktemp("storage") / "log"
    stored._storage.cache_clear()
    with running_storage(log) as keys, environment(keys):
        yield
    stored._storage.cache_clear()
