import pytest

from lakehouse.cli import Format, Output, _options_first
from lakehouse.errors import LakehouseError


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
        (["--home=h", "up"], ["--home=h", "up"]),
        (["query", "--", "--json"], ["query", "--", "--json"]),
        (["up", "--home"], ["--home", "up"]),
    ],
)
def test_options_are_read_wherever_they_stand(given: list[str], read: list[str]) -> None:
    assert _options_first(given) == read
