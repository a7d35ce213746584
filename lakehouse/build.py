"""dbt in this process, on the warm engine, and what `lakehouse run` builds with it.

domain with news --build--> `built` moves --test--> `published` moves, readers see it
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lakehouse.domains import Domain, News, domains_of, held_line, news_of, states_of
from lakehouse.engine import local
from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT, Settings

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest


# A build of data runs the tests of data; the unit tests of models need none, and `make test` runs
# them.
BUILD = ("build", "--exclude-resource-type", "unit_test")
BUILD_UNTESTED = (*BUILD, "--exclude-resource-type", "test")
TEST = ("test", "--exclude-resource-type", "unit_test")

# Of a name that is long, as generated names of tests are, so much is shown.
_NAME = 60
_FIRST_RETRY_SECONDS = 60.0
_LAST_RETRY_SECONDS = 1800.0


class Dbt:
    """dbt with the project's files and the home's folders; it prints errors only.

    Args:
        settings: The installation.
        heard: Called with each event of dbt.
        options: What each call is given besides.
        target: The folder of the home that dbt's artifacts go into.
    """

    def __init__(
        self,
        settings: Settings,
        heard: Callable[[Any], None] | None = None,
        options: tuple[str, ...] = (),
        target: str = "target",
    ) -> None:
        self._settings = settings
        self.target = settings.paths.root / target
        self._heard = heard
        self._options = options
        self._manifest: Manifest | None = None

    def parse(self) -> None:
        """Reads the project once for all calls that follow, which saves each of them a second.

        Raises:
            LakehouseError: The project cannot be read; dbt has printed why.
        """
        self._manifest = None  # dbt would give back the one that it is handed
        self._manifest = self._invoke("parse").result

    def domains(self) -> list[Domain]:
        """The domains of the project, as `parse` has read it."""
        return domains_of(self._manifest.nodes.values() if self._manifest else ())

    def __call__(self, *arguments: str) -> Counter[str]:
        """Runs a command.

        Args:
            arguments: The command and its options, as on dbt's command line.

        Returns:
            How many nodes had which outcome.

        Raises:
            LakehouseError: The command failed, and dbt has printed why.
        """
        results = getattr(self._invoke(*arguments).result, "results", [])
        # The project's hooks are among them; of an operation that is run alone there is no node.
        return Counter(
            str(result.status)
            for result in results
            if hasattr(result, "node")
            and result.node.resource_type not in ("operation", "exposure")
        )

    def _invoke(self, *arguments: str) -> Any:
        # dbt takes a second to import, and most commands need none.
        from dbt.cli.main import dbtRunner  # noqa: PLC0415

        from dbt_lakehouse import build_claim  # noqa: PLC0415

        logs = self._settings.paths.logs / "dbt"
        for path in (logs, self.target):
            path.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("DBT_PROFILES_DIR", str(PROJECT))
        errors: list[str] = []

        def hear(event: Any) -> None:
            if event.info.level == "error" and event.info.name != "MainStackTrace":
                errors.append(event.info.msg)
            if self._heard:
                self._heard(event)

        try:
            outcome = dbtRunner(self._manifest, [hear]).invoke(
                [
                    # The console's level would be the file's too.
                    *("--log-level", "none", *arguments, "--log-level-file", "debug"),
                    *("--project-dir", str(PROJECT)),
                    *("--target-path", str(self.target), "--log-path", str(logs)),
                    *self._options,
                ]
            )
        finally:
            build_claim.close()
        if isinstance(outcome.exception, (KeyboardInterrupt, SystemExit)):
            raise outcome.exception  # without `errors`: what broke off is none
        if errors:
            print("\n".join(errors), file=sys.stderr)
        if outcome.exception:
            raise LakehouseError(f"dbt {arguments[0]}: {outcome.exception}")
        if not outcome.success:
            raise LakehouseError(
                f"dbt {arguments[0]} failed; readers of gold see what they saw before. "
                f"The log is {logs / 'dbt.log'}"
            )
        return outcome


class Retries:
    """When what has failed is tried again: a minute later, then two, four, at last thirty."""

    def __init__(self) -> None:
        self._failed: dict[Hashable, tuple[float, float]] = {}

    def is_due(self, name: Hashable) -> bool:
        """Whether it may be tried now."""
        _, at = self._failed.get(name, (0.0, 0.0))
        return time.monotonic() >= at

    def note(self, name: Hashable, *, is_done: bool) -> None:
        """Takes down how it went."""
        last, _ = self._failed.pop(name, (_FIRST_RETRY_SECONDS / 2, 0.0))
        if not is_done:
            seconds = min(2 * last, _LAST_RETRY_SECONDS)
            self._failed[name] = seconds, time.monotonic() + seconds


@dataclass
class Done:
    """What was done for a domain.

    Attributes:
        domain: Its name.
        has_news: Whether there was anything to do.
        did: What was done, in words.
        failure: What failed; else empty.
        held: That nothing is published, and how to go on; else empty.
    """

    domain: str
    has_news: bool
    did: list[str] = field(default_factory=list)
    failure: str = ""
    held: str = ""

    def lines(self) -> Iterator[str]:
        """What was done in a line, and what failed in another."""
        if self.did:
            yield f"{self.domain}: {', '.join(self.did)}"
        if self.failure:
            yield f"{self.domain}: {self.failure}"


class Builds:
    """Builds, tests and publishes the domains that have news, one after another.

    A domain whose build fails holds up none of the others, nor do red tests hold up its next build;
    where the same object is asked again, what failed is left out for a while.

    Args:
        settings: The installation.
        show: Told, again and again, how far it is.
        options: What each call of dbt is given besides.
    """

    def __init__(
        self,
        settings: Settings,
        show: Callable[[str], None] = lambda _: None,
        options: tuple[str, ...] = (),
    ) -> None:
        self._settings = settings
        self._show = show
        self._dbt = Dbt(settings, self._hear, options)
        self._retries = Retries()
        self._title = self._verb = ""
        self._num_finished = 0

    def bring_up_to_date(self) -> Iterator[Done]:
        """Does all that there is to do.

        Yields:
            What was done for each domain, as soon as it is.

        Raises:
            LakehouseError: The engine cannot be started, or the project cannot be read.
            LockedError: Another process builds at the moment.
        """
        with local.only_build(self._settings):
            self._show("Reading the project ...")
            self._dbt.parse()
            domains = self._dbt.domains()
            session = local.session(self._settings)
            states = states_of(session)
            news = news_of(session, domains, states)
            for domain in domains:
                done = Done(domain.name, has_news=domain.name in news)
                if state := states.get(domain.name):
                    done.held = held_line(domain.name, state)
                try:
                    if done.has_news:
                        self._do(news[domain.name], done)
                except LakehouseError as error:
                    done.failure = str(error)
                yield done

    def _do(self, news: News, done: Done) -> None:
        """Builds a domain, if that is its news, and tests it, each unless it has failed just now.

        Raises:
            LakehouseError: dbt failed, and has printed why.
        """
        steps = [("built", BUILD_UNTESTED)] if news.reason else []
        for verb, command in [*steps, ("tested", TEST)]:
            step = f"{done.domain} {verb}"
            if not self._retries.is_due(step):
                return
            self._title, self._verb, self._num_finished = done.domain, verb, 0
            why = news.reason or "readers do not see yet what is built"
            self._show(f"{done.domain} being {verb}: {why} ...")
            try:
                # Tests look at all rows, builds at those that have come.
                is_small = news.is_small and (verb == "built" or news.is_first)
                with _interpreted(is_wanted=is_small):
                    counts = self._dbt(*command, "--select", f"config.meta.domain:{done.domain}")
                self._check(done, verb, counts)
            except LakehouseError:
                self._retries.note(step, is_done=False)
                raise
            self._retries.note(step, is_done=True)

    def _check(self, done: Done, verb: str, counts: Counter[str]) -> None:
        """Tells what was done, if it stands in `audit.domains`.

        Raises:
            LakehouseError: It does not; without a word it would be done again and again.
        """
        state = states_of(local.session(self._settings)).get(done.domain)
        if verb == "built":
            done.did.append(f"{counts.total()} nodes built")
            if state is None or state.built is None or state.pending or state.is_being_written:
                left = f"; to be built anew: {', '.join(state.pending)}" if state else ""
                raise LakehouseError(f"All nodes are built, but not the domain{left}")
        else:
            warned = f" ({counts['warn']} with a warning)" if counts["warn"] else ""
            done.did.append(f"{counts.total()} tests green{warned}")
            if state and (held := held_line(done.domain, state)):
                done.did.append(held)
                return
            if state is None or not state.is_published:
                raise LakehouseError("All tests are green, but nothing is published")
            done.did.append(f"published up to load {state.published}")

    def _hear(self, event: Any) -> None:
        if event.info.name == "NodeFinished":
            self._num_finished += 1
        elif event.info.name == "LogStartLine":
            name = event.data.node_info.node_name
            self._show(
                f"{self._title}: {self._num_finished} of {event.data.total} {self._verb}, "
                f"now {name if len(name) <= _NAME else f'{name[: _NAME - 3]}...'}"
            )


@contextmanager
def _interpreted(*, is_wanted: bool) -> Iterator[None]:
    """Has the engine interpret dbt's statements for a while (see profiles.yml)."""
    if is_wanted:
        os.environ["LAKEHOUSE_INTERPRETS"] = "1"
    try:
        yield
    finally:
        os.environ.pop("LAKEHOUSE_INTERPRETS", None)
