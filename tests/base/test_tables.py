"""Tables as they are printed."""

import pytest

from common.base.tables import Table, print_table


def test_columns_stand_under_each_other(capsys):
    print_table(Table("of edges", ("edge", "model"), (("left", "1.0"), ("all four", "10.0"))))
    assert capsys.readouterr().out.splitlines() == [
        "", "  of edges", "  edge      model", "  left      1.0", "  all four  10.0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "number"),
    [
        (("0.8 [0.7, 0.9]", "-"), True),
        (("1,234", "+0.3", "-2.1", ""), True),
        (("12 of 40", ".5"), True),
        (("-", ""), False),
        (("0.8", "P0012"), False),
        (("1e1-ab", "2"), False),
        (("18-39", "65+"), False),
    ],
)
def test_a_column_of_numbers(cells, number):
    assert Table("", ("a",), tuple((cell,) for cell in cells)).is_number(0) is number


@pytest.mark.parametrize(("second", "head"), [("atrium", ("run",)), ("atrium-2", ("run", "of"))])
def test_a_column_that_says_the_same_again_is_left_out(second, head):
    table = Table("", ("run", "of"), (("heart", "heart"), ("atrium", second)))
    shown = table.without_repeated(1)
    assert shown.head == head
    assert [row[0] for row in shown.rows] == ["heart", "atrium"]
    assert {len(row) for row in shown.rows} == {len(head)}
