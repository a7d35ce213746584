from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pyspark.errors import PySparkException
from rich.console import Console

from ingestion.declaration import Column
from ingestion.drift import Drift
from ingestion.feed import SourceLoad
from ingestion.gate import waiting_files
from ingestion.home import Home
from ingestion.loads import Load
from ingestion.lock import LockedError
from lakehouse import cli
from lakehouse.build import Builds, Done
from lakehouse.cli import Format, Output, _options_first
from lakehouse.engine.local import declared_tables
from lakehouse.errors import LakehouseError
from lakehouse.settings import load_settings


@pytest.mark.parametrize("text", ["14:cd:d6:db:70:f6", "x [abc] y", "a [/x] b", ":smile:"])
def test_a_table_shows_values_as_they_are(capsys: pytest.CaptureFixture[str], text: str) -> None:
    Output().rows([text], [[text]], Format.TABLE)
    header, row = capsys.readouterr().out.splitlines()
    assert header.rstrip() == row.rstrip() == text


def test_csv_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.rows(["a", "b"], [[1, None], ['x"y', "z"]], Format.CSV)
    assert capsys.readouterr().out == 'a,b\n1,\n"x""y",z\n'
    output.rows(["a", "b"], [[1, None]], Format.JSON)
    assert capsys.readouterr().out == '[{"a": 1, "b": null}]\n'


def test_csv_quotes_what_a_reader_would_take_for_the_end_of_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = ["a\rb", "c\nd", "e\r\nf", "g,h", '"', "", [1, "x"], {"k": None}]
    Output().rows(["v", "w"], [[value, 1] for value in values], Format.CSV)
    text = capsys.readouterr().out
    assert text.splitlines()[0] == "v,w"
    texts = [*values[:6], '[1, "x"]', '{"k": null}']
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["v", "w"],
        *([value, "1"] for value in texts),
    ]
    assert text.endswith('null}",1\n')


def test_a_table_shows_what_would_move_or_colour_a_terminals_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "a\x1b[31mb\nc\td\re\x00\x9b\u202e\u2028\x7f 東京 é"
    Output().rows([text], [[text], [None], [["\x1b"]]], Format.TABLE)
    shown = r"a\x1b[31mb\nc\td\re\x00\x9b\u202e\u2028\x7f 東京 é"
    lines = [line.rstrip() for line in capsys.readouterr().out.split("\n")]
    assert lines == [shown, shown, "", r'["\u001b"]', ""]


def test_what_people_are_told_moves_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.say("Refused: a\x1b[2J\rb\u202e.csv: é\nand more")
    output.fail("a\x1b]0;x\x07 is no file \udcff")
    told = capsys.readouterr().err.split("\n")
    assert told == [
        r"Refused: a\x1b[2J\rb\u202e.csv: é",
        "and more",
        r"Error: a\x1b]0;x\x07 is no file \udcff",
        "",
    ]


@pytest.mark.parametrize("style", list(Format))
def test_a_terminal_without_these_letters(monkeypatch: pytest.MonkeyPatch, style: Format) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr("sys.stdout", out)
    Output().rows(["é"], [["東😀\ud800"]], style)
    out.flush()
    told = out.buffer.getvalue().decode("latin-1")  # type: ignore[attr-defined]
    if style is Format.JSON:
        assert json.loads(told) == [{"é": "東😀\ud800"}]
    else:
        assert [line.strip() for line in told.splitlines()] == ["é", r"\u6771\U0001f600\ud800"]


def test_a_statement_that_is_not_utf_8_is_wrong_use() -> None:
    with pytest.raises(LakehouseError, match="The statement is not UTF-8") as error:
        cli.app(["query", "select '\udcff'"], standalone_mode=False)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("sql", ["", " \n"])
def test_an_empty_statement_starts_no_engine(sql: str) -> None:
    with pytest.raises(LakehouseError, match="The statement is empty") as error:
        cli.app(["query", sql], standalone_mode=False)
    assert error.value.exit_code == 2


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "inbox" / "sbit.gym_logins"


def land(*files: Path) -> None:
    cli.app(["land", "sbit.gym_logins", *map(str, files)], standalone_mode=False)


def waiting(inbox: Path) -> dict[str, str]:
    """What is taken in, by name; nothing else lies there."""
    home = Home(inbox.parents[1])
    table = next(table for table in declared_tables() if table.full_name == inbox.name)
    found = waiting_files(home, table)
    assert sorted(inbox.iterdir()) == found
    return {path.name: path.read_text() for path in found}


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_land_delivers_under_names_that_are_taken_in(
    tmp_path: Path, inbox: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["a.csv", ".visits.csv", "visits.tmp", "visits.csv.part"]
    files = [written(tmp_path / name, name) for name in names]
    land(*files)
    assert waiting(inbox) == {
        "a.csv": "a.csv",
        "visits.csv": ".visits.csv",
        "visits": "visits.tmp",
        "visits-2.csv": "visits.csv.part",
    }
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path}/.visits.csv is delivered as visits.csv",
        f"{tmp_path}/visits.tmp is delivered as visits",
        f"{tmp_path}/visits.csv.part is delivered as visits-2.csv",
        f"Delivered to {inbox}: 4. Take them in and build with: lakehouse run",
    ]
    assert all(file.exists() for file in files)


def test_land_takes_no_place_of_another(tmp_path: Path, inbox: Path) -> None:
    first, second = (written(tmp_path / folder / "a.csv", folder) for folder in ("x", "y"))
    land(first, second)
    land(first)
    (inbox / "b.csv").mkdir()
    written(inbox / "b.csv" / "c.csv", "inside")
    land(written(tmp_path / "b.csv", "beside"))
    assert {path.name: path.read_text() for path in inbox.iterdir() if path.is_file()} == {
        "a.csv": "x",
        "a-2.csv": "y",
        "a-3.csv": "x",
        "b-2.csv": "beside",
    }


@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("n" * 255, "n" * 253 + "-2"),
        ("n" * 251 + ".csv", "n" * 249 + "-2.csv"),
        ("é" * 125 + "x.csv", "é" * 124 + "-2.csv"),
        ("a." + "n" * 253, "a." + "n" * 251 + "-2"),
    ],
)
def test_land_of_the_longest_names(tmp_path: Path, inbox: Path, name: str, second: str) -> None:
    for text in ("1", "2"):
        land(written(tmp_path / name, text))
    assert waiting(inbox) == {name: "1", second: "2"}


def test_land_of_a_name_that_is_not_unicode(tmp_path: Path, inbox: Path) -> None:
    try:
        file = written(tmp_path / os.fsdecode(b".\xff.csv"), "x")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    land(file)
    assert waiting(inbox) == {os.fsdecode(b"\xff.csv"): "x"}


def test_land_delivers_nothing_when_a_file_cannot_be_copied(
    tmp_path: Path, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [written(tmp_path / name, name) for name in ("a", "b")]
    copyfile = shutil.copyfile

    def full(file: Path, copy: Path) -> None:
        copyfile(file, copy)
        if file.name == "b":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(LakehouseError) as error:
        land(*files)
    assert str(error.value) == (
        f"{files[1]} cannot be copied to {inbox}: No space left on device. Delivered: nothing. "
        "Mend that and land the others again."
    )
    assert waiting(inbox) == {}


def test_land_names_what_it_has_delivered_before_it_failed(
    tmp_path: Path, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link_to = Path.hardlink_to

    def full(path: Path, target: Path) -> None:
        if path.name == "b":
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), str(path))
        link_to(path, target)

    monkeypatch.setattr(Path, "hardlink_to", full)
    with pytest.raises(LakehouseError, match=r"/b cannot be .* Delivered: a\. Mend"):
        land(*(written(tmp_path / name, name) for name in ("a", "b", "c")))
    assert waiting(inbox) == {"a": "a"}


def test_land_that_is_interrupted_leaves_nothing(
    tmp_path: Path, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(file: Path, copy: Path) -> None:
        copy.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cli._deliver([written(tmp_path / "a", "whole")], inbox_made(inbox))
    assert waiting(inbox) == {}


def inbox_made(inbox: Path) -> Path:
    inbox.mkdir(parents=True)
    return inbox


def test_land_of_what_is_no_file_delivers_nothing(tmp_path: Path, inbox: Path) -> None:
    with pytest.raises(LakehouseError, match="nowhere is no file") as error:
        land(written(tmp_path / "a", "a"), tmp_path / "nowhere")
    assert error.value.exit_code == 2
    assert not inbox.exists()


def test_a_source_that_is_mistyped_is_told_the_one_that_is_like_it(inbox: Path) -> None:
    for typed, told in (
        ("sbit.gym_login", "source: did you mean sbit.gym_logins? Known: retail.cl"),
        ("nope", "source. Known: "),
    ):
        with pytest.raises(LakehouseError) as error:
            cli.land(typed, [])
        assert str(error.value).startswith(f"{typed} is no declared {told}")
        assert error.value.exit_code == 2


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(LakehouseError, match="Two columns have one name: x, x"):
        Output().rows(["x", "x"], [[1, 2]], Format.JSON)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["status", "--json"], ["--json", "status"]),
        (
            ["query", "select 1", "--home", "h", "--quiet"],
            ["--home", "h", "--quiet", "query", "select 1"],
        ),
        (["up", "--home=h"], ["--home", "h", "up"]),
        (["query", "--", "--json"], ["query", "--", "--json"]),
    ],
)
def test_options_are_read_wherever_they_stand(given: list[str], read: list[str]) -> None:
    assert _options_first(given) == read


@pytest.mark.parametrize("given", [["up", "--home"], ["up", "--home", ""], ["--home=", "up"]])
def test_a_home_that_is_not_told_is_wrong_use(given: list[str]) -> None:
    with pytest.raises(LakehouseError, match="--home needs a folder") as error:
        _options_first(given)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("name", ["home", "/dev/null", "~nobody-of-this-name"])
def test_what_is_no_folder_is_no_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("home").touch()
    with pytest.raises(LakehouseError, match=f"{name} is no folder") as error:
        load_settings(Path(name))
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (errno.EROFS, "Read-only file system. Give yourself the rights to it"),
        (errno.ENOENT, "No such file or directory. Correct the path"),  # /proc/home is such a one
    ],
)
def test_a_home_that_may_not_be_written_is_told_with_a_cure(
    capsys: pytest.CaptureFixture[str], code: int, told: str
) -> None:
    with pytest.raises(SystemExit) as end, cli.told():
        raise OSError(code, os.strerror(code), "/media/home")
    assert end.value.code == 1
    assert capsys.readouterr().err == (
        f"Error: /media/home: {told}; of a home, another one will do, too.\n"
    )


@pytest.mark.parametrize("arguments", [[], ["--help"], ["run", "--help"]])
def test_help_is_an_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["lakehouse", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    told = capsys.readouterr()
    assert "Usage: lakehouse" in told.out
    assert told.err == ""


def test_an_interrupted_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["lakehouse", "doctor"])
    monkeypatch.setattr("lakehouse.doctor.examine", interrupted)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 130
    assert capsys.readouterr().err == "Error: Interrupted. Run it again.\n"


def test_upkeep_makes_no_lakehouse_of_a_mistyped_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "typo"))
    with pytest.raises(LakehouseError, match="typo holds no lakehouse") as error:
        cli.app(["maintain"], standalone_mode=False)
    assert error.value.exit_code == 2
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "No such command 'nope'. See: lakehouse --help"),
        (["--json"], "Missing command. See: lakehouse --help"),
        (
            ["generate"],
            "Missing argument 'domain'. Choose from: network, retail, wearables. "
            "See: lakehouse generate --help",
        ),
        (
            ["generate", "foo"],
            "Invalid value for 'domain': 'foo' is not one of 'network', 'retail', 'wearables'. "
            "See: lakehouse generate --help",
        ),
        (
            ["run", "--every"],
            "Option '--every' requires an argument. See: lakehouse [COMMAND] --help",
        ),
        (
            ["maintain", "--retain-hours", "x"],
            "Invalid value for '--retain-hours': x should be a valid integer, unable to parse "
            "string as an integer. See: lakehouse maintain --help",
        ),
        *(
            (
                ["generate", "network", option, f"{given}"],
                f"Invalid value for '{option}': {given} should be {bound}. "
                "See: lakehouse generate --help",
            )
            for option, given, bound in (
                ("--late", 2, "less than or equal to 1"),
                ("--late", "nan", "less than or equal to 1"),
                ("--minutes", 0, "greater than or equal to 1"),
                ("--minutes", 10**20, "less than or equal to 1000000"),
                ("--days", 10001, "less than or equal to 10000"),
                ("--seed", -1, "greater than or equal to 0"),
            )
        ),
    ],
)
def test_what_the_command_line_does_not_know_is_a_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setattr("sys.argv", ["lakehouse", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == f"Error: {message}\n"


@pytest.mark.parametrize("text", ["", "s", "soon", "0", "-5s", "5m", "nan", "1e9"])
def test_an_interval_that_is_no_time_is_wrong_use(text: str) -> None:
    with pytest.raises(LakehouseError, match="is no time from") as error:
        cli._seconds(text)
    assert error.value.exit_code == 2


def test_an_interval_is_seconds_with_or_without_their_unit() -> None:
    assert [cli._seconds(text) for text in ("5", "5s", "0.5s")] == [5, 5, 0.5]


def run_once(home: Path, monkeypatch: pytest.MonkeyPatch, load: Load | None, *done: Done) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(home))
    monkeypatch.setattr(cli, "_take_in", lambda _: load)
    monkeypatch.setattr(Builds, "bring_up_to_date", lambda _: iter(done))
    cli.app(["run"], standalone_mode=False)


def test_a_run_tells_what_it_did_for_each_domain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    did = ["35 nodes built", "77 tests green", "published up to load 3"]
    done = [
        Done("network", has_news=False),
        Done("retail", has_news=False, held="publishing is held"),
        Done("wearables", has_news=True, did=did),
    ]
    run_once(tmp_path, monkeypatch, None, *done)
    assert capsys.readouterr().err.splitlines() == [
        "network: nothing new",
        "retail: nothing new; publishing is held",
        "wearables: 35 nodes built, 77 tests green, published up to load 3",
    ]


def test_to_go_back_and_to_go_on_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(LakehouseError, match="--to and --release exclude each other") as error:
        cli.app(
            ["--home", str(tmp_path), "restore", "network", "--to", "3", "--release"],
            standalone_mode=False,
        )
    assert error.value.exit_code == 2


def test_a_run_beside_another_build_still_tells_what_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def locked(_: object) -> Iterator[Done]:
        yield Done("network", has_news=False)
        raise LockedError("Process 7 builds this lakehouse at the moment.")

    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    load = Load(1, [SourceLoad("a.b", quarantined=[("x.csv", "no header")])])
    monkeypatch.setattr(cli, "_take_in", lambda _: load)
    monkeypatch.setattr(Builds, "bring_up_to_date", locked)
    with pytest.raises(LakehouseError, match=r"^Process 7 builds this lakehouse at the moment\.$"):
        cli.app(["run"], standalone_mode=False)
    assert capsys.readouterr().err.splitlines() == [
        "network: nothing new",
        "Refused, and kept in quarantine: a.b: x.csv: no header",
    ]


def test_an_interrupted_build_still_tells_what_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> Iterator[Done]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    load = Load(1, [SourceLoad("a.b", quarantined=[("x.csv", "no header")])])
    monkeypatch.setattr(cli, "_take_in", lambda _: load)
    monkeypatch.setattr(Builds, "bring_up_to_date", interrupted)
    assert cli.app(["run"], standalone_mode=False) == 130
    assert capsys.readouterr().err == "Refused, and kept in quarantine: a.b: x.csv: no header\n"


def test_a_run_ends_with_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = [
        Done("network", has_news=True, failure="dbt build failed"),
        Done("wearables", has_news=True, did=["35 nodes built"], failure="dbt test failed"),
    ]
    load = Load(1, [SourceLoad("a.b", faults={"files": "broken"})])
    with pytest.raises(LakehouseError) as error:
        run_once(tmp_path, monkeypatch, load, *done)
    assert str(error.value) == (
        "network: dbt build failed; wearables: dbt test failed; a.b: broken"
    )
    assert capsys.readouterr().err == "wearables: 35 nodes built\n"


def test_a_run_ends_with_what_would_declare_other_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drift = Drift((Column("Foo", "bigint"),))
    source = SourceLoad("a.b", drifts=Counter({drift: 3}), quarantined=[("f", "it is empty")])
    run_once(tmp_path, monkeypatch, Load(1, [source]))
    assert capsys.readouterr().err.splitlines() == [
        "Other columns than the declared ones: a.b: in files of 3 rows: not declared, "
        "kept in _rescued: 'Foo'",
        "To declare them, add to the columns of b in models/staging/a/_a__sources.yml:",
        "          - name: Foo",
        "            data_type: bigint",
        "            description: To be described.",
        "Refused, and kept in quarantine: a.b: f: it is empty",
    ]


class FakeLoads:
    """Loads that have been made up; the last is the one after which nothing goes on."""

    def __init__(self, made_up: list[Load | None], last: int) -> None:
        self.made_up, self.last = made_up, last
        self.left_out: list[set[tuple[str, str]]] = []
        self.has_any = True

    def __call__(self, *_: object) -> FakeLoads:
        return self

    def run(self, but: set[tuple[str, str]]) -> Load | None:
        self.left_out.append(set(but))
        number = len(self.left_out) - 1
        return self.made_up[number] if number < len(self.made_up) else None

    @property
    def goes_on(self) -> bool:
        return len(self.left_out) < self.last


def take_in_once(home: Path, monkeypatch: pytest.MonkeyPatch, loads: FakeLoads) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(home))
    monkeypatch.setattr(cli, "_session", lambda _: None)
    monkeypatch.setattr(cli, "Loads", loads)
    cli.app(["ingest"], standalone_mode=False)


def test_load_after_load_is_taken_in_while_a_read_goes_on_and_all_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    meanwhile = SourceLoad("a.c", landed=1, rows=5, quarantined=[("f", "empty")])
    meanwhile.drifts[Drift(missing=("gym",))] = 5
    loads = FakeLoads(
        [
            Load(7, [SourceLoad("a.b", rows=2), SourceLoad("a.d", faults={"kafka": "broken"})]),
            Load(8, [SourceLoad("a.b", rows=2), meanwhile]),
            Load(9, [SourceLoad("a.b", rows=1, faults={"kafka": "gone"})]),
            Load(10, []),
        ],
        last=3,
    )
    with pytest.raises(LakehouseError) as error:
        take_in_once(tmp_path, monkeypatch, loads)
    assert str(error.value) == "a.b: gone; a.d: broken"
    assert loads.left_out == [set(), {("kafka", "a.d")}, {("kafka", "a.d")}]
    nothing = "duplicate files 0, quarantined 0"
    assert capsys.readouterr().err.splitlines() == [
        f"load 7: a.b: files 0, rows 2, {nothing}",
        f"load 7: a.d: files 0, rows None, {nothing}",
        f"load 8: a.b: files 0, rows 2, {nothing}",
        "load 8: a.c: files 1, rows 5, duplicate files 0, quarantined 1",
        f"load 9: a.b: files 0, rows 1, {nothing}",
        f"loads 7 to 9: a.b: files 0, rows 5, {nothing}",
        f"loads 7 to 9: a.d: files 0, rows None, {nothing}",
        "loads 7 to 9: a.c: files 1, rows 5, duplicate files 0, quarantined 1",
        "Other columns than the declared ones: a.c: in files of 5 rows: missing: 'gym'",
        "Refused, and kept in quarantine: a.c: f: empty",
    ]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, PySparkException])
def test_what_ends_a_long_read_hides_no_refusal_of_the_loads_before(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stop: type[BaseException],
) -> None:
    loads = FakeLoads([Load(7, [SourceLoad("a.b", quarantined=[("f", "empty")])])], last=3)
    run = loads.run

    def stopped(but: set[tuple[str, str]]) -> Load | None:
        if loads.left_out:
            raise stop("ended")
        return run(but)

    loads.run = stopped  # type: ignore[method-assign]
    with suppress(PySparkException):
        take_in_once(tmp_path, monkeypatch, loads)
    [_, refused] = capsys.readouterr().err.splitlines()
    assert refused == "Refused, and kept in quarantine: a.b: f: empty"


def test_one_load_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    take_in_once(tmp_path, monkeypatch, FakeLoads([Load(7, [SourceLoad("a.b", rows=2)])], last=1))
    assert capsys.readouterr().err.splitlines() == [
        "load 7: a.b: files 0, rows 2, duplicate files 0, quarantined 0"
    ]


def test_a_step_that_brings_nothing_ends_no_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as one that has only looked at keys."""
    loads = FakeLoads([None, Load(7, [SourceLoad("a.b", rows=2)]), None], last=3)
    take_in_once(tmp_path, monkeypatch, loads)
    assert len(loads.left_out) == 3
    assert len(capsys.readouterr().err.splitlines()) == 1
    take_in_once(tmp_path, monkeypatch, FakeLoads([], last=2))
    assert capsys.readouterr().err == "Nothing waits.\n"


def test_where_nothing_has_ever_come_a_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loads = FakeLoads([], last=1)
    loads.has_any = False
    take_in_once(tmp_path, monkeypatch, loads)
    told = capsys.readouterr().err
    assert told.startswith("Nothing has come yet. Deliver data with lakehouse land, ")


def test_progress_without_a_terminal_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    output = Output()
    with output.progress() as show:
        for second in range(25):
            now = 100.0 + second
            show(f"{second} of 25 built")
    assert capsys.readouterr().err.splitlines() == [f"{n} of 25 built" for n in (0, 10, 20)]
    output.quiet = True
    with output.progress() as show:
        show("1 of 25 built")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("width", [40, 41])
def test_progress_on_a_terminal_is_one_line_however_long_a_name_is(width: int) -> None:
    output, file = Output(), io.StringIO()
    output._people = Console(
        file=file, force_terminal=True, width=width, soft_wrap=True, markup=False, height=10
    )
    with output.progress() as show:
        show(f"network: 3 of 60 tested, now {'long_name_' * 18}")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())
    [line] = {each for each in re.split(r"[\r\n]", shown) if "network" in each}
    assert len(line) == width
    assert line.endswith("…")


def test_the_pace_of_builds_goes_with_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    monkeypatch.setattr(cli, "_session", lambda _: None)
    paces = []
    monkeypatch.setattr(
        "lakehouse.live.run_rounds",
        lambda _, every, __, build_every: paces.append((every, build_every)) or 2,
    )
    for options in (["run"], ["run", "--build-every", "5s"], ["ingest"]):
        with pytest.raises(SystemExit) as end:
            cli.app([*options, "--every", "1s"], standalone_mode=False)
        assert end.value.code == 130
    assert paces == [(1, 60), (1, 5), (1, None)]
    for wrong in (["--build-every", "5s"], ["--every", "1s", "--build-every", "0s"]):
        with pytest.raises(LakehouseError, match="--build-every") as error:
            cli.app(["run", *wrong], standalone_mode=False)
        assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wearables", "--servers", "3"], "--servers is no option of wearables"),
        (["wearables", "--every", "5s"], "--every is no option of wearables"),
        (["wearables", "--reversed"], "--reversed is no option of wearables"),
        (["network", "--users", "3"], "--users is no option of network"),
        (["network", "--reversed", "--every", "5s"], "--reversed and --every exclude each other"),
        (["network", "--days", "3"], "--days is no option of network"),
        (["network", "--to", "postgres"], "--to postgres is no option of network"),
        (["retail", "--servers", "3"], "--servers is no option of retail"),
        (
            ["retail", "--reversed", "--to", "postgres"],
            "--reversed and --to postgres exclude each other",
        ),
    ],
)
def test_an_option_of_another_domain_is_wrong_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    with pytest.raises(LakehouseError, match=message) as error:
        cli.app(["generate", *arguments], standalone_mode=False)
    assert error.value.exit_code == 2
    assert not list(tmp_path.rglob("*"))
