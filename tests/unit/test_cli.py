import errno
import os
from pathlib import Path

import pytest

from lakehouse import cli
from lakehouse.cli import Format, Output, _options_first
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


def test_a_home_that_may_not_be_written_is_told_with_a_cure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end, cli.told():
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/media/home")
    assert end.value.code == 1
    assert capsys.readouterr().err == (
        "Error: /media/home: Read-only file system. Give yourself the rights to it; of a "
        "home, another one will do, too.\n"
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
        (["nope"], "No such command 'nope'."),
        (["--json"], "Missing command."),
        (["generate"], "Missing argument 'domain'. Choose from: wearables, network"),
        (["run", "--every"], "Option '--every' requires an argument."),
        (["maintain", "--retain-hours", "x"], "Invalid value for '--retain-hours'"),
        (["generate", "wearables", "--late", "2"], "Invalid value for '--late'"),
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
    assert told.err.startswith(f"Error: {message}")
    assert told.err.endswith("See: lakehouse [COMMAND] --help\n")
    assert told.err.count("\n") == 1


@pytest.mark.parametrize("text", ["", "s", "soon", "0", "-5s", "5m", "nan", "1e9"])
def test_a_pace_that_is_no_time_is_wrong_use(text: str) -> None:
    with pytest.raises(LakehouseError, match="is no time from") as error:
        cli._seconds(text)
    assert error.value.exit_code == 2


def test_a_pace_is_seconds_with_or_without_their_unit() -> None:
    assert [cli._seconds(text) for text in ("5", "5s", "0.5s")] == [5, 5, 0.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wearables", "--servers", "3"], "--servers is no option of wearables"),
        (["wearables", "--every", "5s"], "--every is no option of wearables"),
        (["wearables", "--reversed"], "--reversed is no option of wearables"),
        (["network", "--users", "3"], "--users is no option of network"),
        (["network", "--reversed", "--every", "5s"], "--reversed and --every exclude each other"),
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
