"""Rows of a table, and its file, against pandas and csv."""

import csv
import io

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from common.records import rows
from common.records.rows import rows_of, write_table

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
CELLS = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(width=32), TEXTS)
TABLES = st.lists(
    st.fixed_dictionaries(
        {"text": TEXTS, "number": st.integers(-99, 99), "share": st.floats(), "any": CELLS}
    ),
    max_size=9,
).map(lambda cells: pd.DataFrame(cells, columns=["text", "number", "share", "any"]))


@settings(max_examples=60, deadline=None)
@given(TABLES)
def test_a_table_is_written_as_its_records_are(tmp_path_factory, table):
    expected = io.StringIO()
    writer = csv.DictWriter(expected, list(table), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table.to_dict("records"))
    path = tmp_path_factory.mktemp("rows") / "table.csv"
    write_table(path, table)
    assert path.read_bytes().decode() == expected.getvalue()
    for actual, record in zip(rows_of(table), table.to_dict("records"), strict=True):
        assert repr(actual) == repr(record)


def test_a_long_table_is_read_in_parts(monkeypatch):
    monkeypatch.setattr(rows, "_AT_ONCE", 3)
    table = pd.DataFrame({"case": [f"c{k}" for k in range(10)], "place": range(10)})
    assert list(rows_of(table)) == table.to_dict("records")
