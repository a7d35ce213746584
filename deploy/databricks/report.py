"""Writes the pages into the volume `site`, on Databricks: the task `report`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Databricks runs a file without telling it where it lies, in its folder.
sys.path.insert(0, str(Path(globals().get("__file__") or Path.cwd() / "x").resolve().parent))

from ingest import session_of

from lakehouse.reading import asking


def main(arguments: list[str]) -> None:
    """Runs the task; it raises nothing where all went well."""
    from lakehouse.report import site  # noqa: PLC0415 - Altair takes a second

    parser = argparse.ArgumentParser(description="Writes the pages, on Databricks.")
    parser.add_argument("--catalog", required=True, help="the catalog of the target")
    given = parser.parse_args(arguments)
    folder = Path("/Volumes") / given.catalog / "files" / "site"
    print(site.write(folder, asking(session_of(given.catalog))))


if __name__ == "__main__":
    main(sys.argv[1:])
