"""Going back to what readers saw before, and on again.

PUBLICATION --row--> held --views--> readers see it
release --row--> the next run tests what is built, and publishes it

A publication is what readers of a domain were shown: a version of each of its marts. The rows of
`audit.domains` tell of all that have been, for as long as upkeep keeps these rows. Going back
appends a row with the older versions and then alters the views, as publishing does; so what a kill
leaves between the two is put right by the next run or upkeep. `built` stays, builds go on, and live
views show what has come. Nothing is published until somebody releases it, or the next run would
bring the mistake back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from ingestion.faults import first_line
from lakehouse.domains import JOURNAL, UPKEEP, State, append_state, states_of
from lakehouse.errors import LakehouseError
from lakehouse.maintenance import pin
from lakehouse.settings import project_vars

_NAME = "restore"


@dataclass(frozen=True)
class Publication:
    """What readers of a domain were shown.

    Attributes:
        number: Of the row of `audit.domains` that published it.
        load: The load up to which it was.
        published_at: When that was, UTC.
        as_of: Its report time, UTC; None where the row that told has been forgotten.
        marts: The version of each mart; a compacted one's, where upkeep has compacted it since.
        is_shown: Whether readers see it.
    """

    number: int
    load: int
    published_at: str
    as_of: str | None
    marts: dict[str, int] = field(default_factory=dict)
    is_shown: bool = False


def publications_of(spark: SparkSession, domain: str) -> list[Publication]:
    """The publications of a domain that are remembered, the newest first.

    Raises:
        LakehouseError: There is no such domain.
    """
    _state_of(spark, domain)
    rows = spark.sql(
        "select number, built, published, state, invocation_id, "
        "cast(date_trunc('second', recorded_at) as string) as recorded_at "
        f"from {JOURNAL} where domain = '{domain}' order by number"
    ).collect()
    return publications_in(
        (State.of(row), row["invocation_id"], row["recorded_at"]) for row in rows
    )


def publications_in(rows: Iterable[tuple[State, str, str]]) -> list[Publication]:
    """The publications that a domain's rows tell of, the newest first.

    Args:
        rows: Each with who wrote it and when, by number.
    """
    found: dict[int, Publication] = {}
    shown = 0
    for state, writer, recorded_at in rows:
        versions = state.versions("gold")
        if state.published is None:
            continue
        if state.held is not None:
            shown = state.held
        elif shown not in found or (found[shown].marts != versions and writer != UPKEEP):
            shown = state.number
        if shown not in found:
            as_of = state.as_of if state.is_published else None
            found[shown] = Publication(shown, state.published, recorded_at, as_of)
        found[shown] = replace(found[shown], load=state.published, marts=versions)
    return [
        replace(publication, is_shown=publication.number == shown)
        for publication in sorted(found.values(), key=lambda one: -one.number)
    ]


def go_back(spark: SparkSession, domain: str, number: int) -> Publication:
    """Lets readers see a publication again, and holds publishing.

    Marts that the publication does not have, since they are newer, stay as they are.

    Args:
        spark: A session on the engine; nobody builds meanwhile.
        domain: The domain.
        number: The publication's.

    Raises:
        LakehouseError: There is no such domain or publication, or its files are gone; readers see
            what they saw.
    """
    state = _state_of(spark, domain)
    known = {publication.number: publication for publication in publications_of(spark, domain)}
    if number not in known:
        raise LakehouseError(
            f"{domain} has no publication {number}. Choose one of: lakehouse restore {domain}",
            exit_code=2,
        )
    publication = known[number]
    shown = state.versions("gold")
    marts = shown | {mart: version for mart, version in publication.marts.items() if mart in shown}
    if reason := why_gone(spark, marts):
        raise LakehouseError(
            f"Publication {number} of {domain} cannot be read any more: {reason}. Choose another: "
            f"lakehouse restore {domain}"
        )
    details = state.details | {"gold": marts, "held": number}
    _append(spark, domain, replace(state, published=publication.load, details=details))
    pin(spark, marts)
    return publication


def release(spark: SparkSession, domain: str) -> None:
    """Lets publishing go on: readers see what they saw until the next run has tested what is built.

    Raises:
        LakehouseError: There is no such domain, or nobody holds its publishing.
    """
    state = _state_of(spark, domain)
    if state.held is None:
        raise LakehouseError(f"The publishing of {domain} is not held.", exit_code=2)
    _append(spark, domain, replace(state, details=state.details | {"held": None}))


def why_gone(spark: SparkSession, marts: Mapping[str, int]) -> str:
    """Why versions of marts cannot be read; empty: each of their files is there.

    Each file is opened, and none is read whole.
    """
    files = " union all ".join(
        f"select max(_metadata.file_path) as file from gold_build.{mart} version as of {version}"
        for mart, version in marts.items()
    )
    try:
        spark.sql(files or "select 1").collect()
    except PySparkException as error:
        return first_line(error)
    return ""


def _state_of(spark: SparkSession, domain: str) -> State:
    states = states_of(spark)
    if domain in states:
        return states[domain]
    declared = project_vars()["domains"]
    if domain in declared:
        told = f"{domain} is not built here yet. Built: {', '.join(sorted(states)) or 'none'}"
    else:
        told = f"{domain} is no domain. There are: {', '.join(sorted({*declared, *states}))}"
    raise LakehouseError(told, exit_code=2)


def _append(spark: SparkSession, domain: str, state: State) -> None:
    append_state(spark, domain, replace(state, number=state.number + 1), _NAME)
