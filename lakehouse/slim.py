"""What a change would make of main's tables, built and tested beside them: make slim.

    main's files ──dbt parse──> its manifest ──> what the change modifies, and all below it
         └── lakehouse run ──> its tables, of     └── dbt build ──> that, of main's tables, in
             made-up data (elsewhere than on          schemas of its own, which are dropped
             this machine: those that are there)

Main's tables, what readers see, and what is remembered of both stay as they are.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lakehouse.errors import LakehouseError

# This runs in the environment of dbt-databricks too, which has neither settings nor engine.
PROJECT = Path(__file__).resolve().parents[1]
WORK = PROJECT / ".lakehouse" / "slim"
STORY = ("--late", "0.05", "--duplicates", "0.05", "--corrupt", "0.001")


@dataclass(frozen=True)
class Slim:
    """A change, what it is compared with, and where it is built.

    Attributes:
        project: The folder of the project as the change has it.
        main: The folder of the project as main has it.
        work: The folder for what dbt writes.
        prefix: Put before the names of the schemas that the change is built in.
    """

    project: Path
    main: Path
    work: Path
    prefix: str

    def modified(self) -> dict[str, str | None]:
        """What the change modifies and all below it: dbt's ids of nodes, each with its domain.

        Raises:
            LakehouseError: The project cannot be read, as main or as the change has it.
        """
        parse = ("dbt", "--quiet", "parse", "--no-partial-parse")
        run(self.main, *parse, *self._folders(self.main, "main"))
        keys = ("--output", "json", "--output-keys", "unique_id")
        listed = self._dbt("--quiet", "list", *self._selection(), *keys, is_read=True)
        manifest = json.loads((self.work / "change" / "manifest.json").read_text())
        nodes = manifest["nodes"] | manifest["unit_tests"]

        def domain_of(node: dict[str, Any]) -> str | None:
            read = node["depends_on"]["nodes"] if "test" in node["resource_type"] else []
            found = [node, *(nodes[parent] for parent in read if parent in nodes)]
            return next((of for one in found if (of := one["config"]["meta"].get("domain"))), None)

        # Exposures and sources are among them, too, with which dbt does nothing.
        ids = [json.loads(line)["unique_id"] for line in listed.splitlines() if line[:1] == "{"]
        return {unique_id: domain_of(nodes[unique_id]) for unique_id in ids if unique_id in nodes}

    def build(self) -> None:
        """Builds and tests what is modified; then its schemas are gone.

        Raises:
            LakehouseError: Something is red; dbt has printed what.
        """
        try:
            self._dbt("build", *self._selection(), "--defer", "--favor-state")
        except LakehouseError:
            raise LakehouseError("The change is red; dbt says above where.") from None
        finally:
            self._dbt("--quiet", "run-operation", "drop_slim")

    def _selection(self) -> Iterator[str]:
        yield from ("--state", str(self.work / "main"), "--select", "state:modified+")
        # dbt does not see that a var is another.
        before, after = (
            yaml.safe_load((project / "dbt_project.yml").read_text())["vars"]
            for project in (self.main, self.project)
        )
        for domain, names in after["domains"].items():
            if any(before.get(name) != after.get(name) for name in names):
                yield f"config.meta.domain:{domain}"

    def _dbt(self, *arguments: str, is_read: bool = False) -> str:
        slim = ("--vars", json.dumps({"slim": self.prefix}))
        folders = self._folders(self.project, "change")
        return run(self.project, "dbt", *arguments, *slim, *folders, is_read=is_read)

    def _folders(self, project: Path, name: str) -> tuple[str, ...]:
        target = str(self.work / name)
        return ("--project-dir", str(project), "--target-path", target, "--log-path", target)


def run(project: Path, command: str, *arguments: str, is_read: bool = False) -> str:
    """Runs a command on the files of a folder; returns what it prints, if that is read.

    Raises:
        LakehouseError: It fails; it has printed why.
    """
    beside = Path(sys.executable).with_name(command)
    done = subprocess.run(
        [beside if beside.exists() else command, *arguments],
        cwd=project,
        env={"DBT_PROFILES_DIR": str(project)} | os.environ | {"PYTHONPATH": str(project)},
        stdout=subprocess.PIPE if is_read else None,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout or "", file=sys.stderr, end="")
        raise LakehouseError(f"{command} failed in {project}: {' '.join(arguments)}")
    return done.stdout or ""


def commit_of_main(project: Path, base: str) -> str:
    """The commit that a change begins with: the last one that it shares with `base`.

    Raises:
        LakehouseError: There is none.
    """
    try:
        return run(project, "git", "merge-base", base, "HEAD", is_read=True).strip()
    except LakehouseError:
        raise LakehouseError(
            f"This shares no commit with {base}. Fetch main with its history: git fetch origin "
            "main; or name what to compare with: make slim BASE=...",
            exit_code=2,
        ) from None


def check_out(project: Path, commit: str, folder: Path) -> None:
    """Writes the files of a commit into a folder.

    Raises:
        LakehouseError: There is no such commit.
    """
    packed = folder.with_suffix(".tar")
    run(project, "git", "archive", "--output", str(packed), commit)
    with tarfile.open(packed) as files:
        files.extractall(folder, filter="data")
    packed.unlink()


@contextmanager
def tables_of_main(main: Path, domains: set[str]) -> Iterator[None]:
    """Main's tables of made-up data, in the home of LAKEHOUSE_HOME, whose engine is up meanwhile.

    Raises:
        LakehouseError: They cannot be built, or main itself is red.
    """
    (main / ".tools").symlink_to(PROJECT / ".tools")
    try:
        for domain in sorted(domains):
            run(main, "lakehouse", "generate", domain, *STORY)
        run(main, "lakehouse", "run", "--once")
        yield
    finally:
        run(main, "lakehouse", "down")


def main(base: str) -> None:
    """Builds beside main's tables what the work at hand, committed or not, modifies.

    Args:
        base: The branch that it is to go into.

    Raises:
        LakehouseError: It is red, or cannot be compared or built.
    """
    # As Ctrl-C does it: a job that is called off ends so, and would leave schemas and an engine.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    is_local = os.environ.get("LAKEHOUSE_TARGET", "local") == "local"
    commit = commit_of_main(PROJECT, base)
    if is_local and (WORK / "home").exists():  # of a run that was killed
        run(PROJECT, "lakehouse", "--home", str(WORK / "home"), "down")
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    check_out(PROJECT, commit, WORK / "main")
    if is_local:  # from the first on, since dbt reads all anew for another profile
        os.environ["LAKEHOUSE_HOME"] = str(WORK / "home")
        os.environ["LAKEHOUSE_INTERPRETS"] = "1"  # what is made up are few rows
    head = run(PROJECT, "git", "rev-parse", "--short=12", "HEAD", is_read=True).strip()
    slim = Slim(PROJECT, WORK / "main", WORK / "dbt", f"slim_{head}_")
    modified = slim.modified()
    since = f"Since {base} ({commit[:12]}) the change modifies, with all below it"
    print(f"{since}: {len(modified)} nodes", flush=True)
    if not modified:
        return
    if not is_local:
        slim.build()
        return
    known = {path.name for path in (WORK / "main" / "generators").iterdir() if path.is_dir()}
    with tables_of_main(WORK / "main", known & set(modified.values()) or known):
        slim.build()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except LakehouseError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
