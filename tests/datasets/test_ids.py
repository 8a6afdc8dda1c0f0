"""Which names stay, and the ids of those that do not: keyed, the same again, for their owner."""

import csv
import hashlib
import hmac
import re
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from common.base.errors import UserError
from common.datasets.ids import IdTable, table_beside
from common.datasets.published import has_name, is_public, is_public_path
from tests.helpers.scripts import ROOT


def files(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"film {path}")
    return [(path.rpartition("/")[2], path) for path in paths]


def rows(file):
    with open(file, newline="") as opened:
        return {row["id"]: row for row in csv.DictReader(opened)}


@pytest.mark.parametrize("file", sorted((ROOT / "data" / "lists").glob("*.csv")))
def test_the_published_names_of_every_dataset_stay(file):
    with open(file, newline="") as opened:
        assert [r["case"] for r in csv.DictReader(opened) if not is_public(r["case"])] == []


@pytest.mark.parametrize(
    "name",
    [
        "film-03", "film-3.dcm", "IM0001", "IM000001", "00000001_000.png", "la_003_0000.nii.gz",
        "0003", "patient00001", "stage_2_train_labels.csv", "row 3 of labels.csv", "P00017",
        "0123456789abcdef0123456789abcdef",
    ],
)  # fmt: skip
def test_plain_words_and_counters_stay(name):
    assert is_public(name)


@pytest.mark.parametrize(
    "name",
    [
        "MUSTERMANN_ERIKA_1", "mustermann.dcm", "erika-03", "film-mustermann", "röntgen", "E_M",
        "1.2.826.0.1.3680043.8.498.17", "1.2.3", "20170305", "film_2017-03-05", "48213",
        "MRN12345678", "scan_4711001", "12345678901234567890123456789012", "",
    ],
)  # fmt: skip
def test_names_numbers_dates_and_uids_do_not(name):
    assert not is_public(name)


def test_of_a_path_every_part_counts():
    assert is_public_path("images/train/film-1.png") and is_public_path("film-1.png")
    assert not is_public_path("/film-1.png") and not is_public_path("../film-1.png")
    assert not is_public_path("MUSTERMANN/film-1.png")
    assert has_name("MUSTERMANN^ERIKA") and not has_name("person-17") and not has_name("00471123")


def test_an_id_is_the_hmac_of_the_path_and_its_table_is_its_owners(tmp_path, capsys):
    (own,) = IdTable(None, tmp_path / "out").ids_of(tmp_path / "in", files(tmp_path / "in", "a/X"))
    file = tmp_path / "id-map.csv"
    table = rows(file)
    digest = hmac.new(bytes.fromhex(table["key"]["name"]), b"a/X", hashlib.sha256).hexdigest()
    assert own == re.search("[a-f].{11}", digest)[0]
    assert table[own] == {"id": own, "name": "X", "path": "a/X", "folder": str(tmp_path / "in")}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    printed = capsys.readouterr().out
    assert str(file) in printed and "names" in printed and "patients" in printed


def test_the_same_file_gets_its_id_again(tmp_path):
    asked = files(tmp_path / "in", "a/X", "a/Y")
    x, y = IdTable(None, tmp_path / "out").ids_of(tmp_path / "in", asked)
    file = tmp_path / "id-map.csv"
    before = file.read_bytes()
    # From another folder, another output.
    assert IdTable(file, tmp_path / "elsewhere/o").ids_of(tmp_path / "in/a", [("Y", "Y")]) == [y]
    assert file.read_bytes() == before
    # A copy is the same film, and so is what was moved.
    shutil.copytree(tmp_path / "in", tmp_path / "copy")
    assert IdTable(file, tmp_path).ids_of(tmp_path / "copy", asked) == [x, y]
    (tmp_path / "in").rename(tmp_path / "moved")
    assert IdTable(file, tmp_path).ids_of(tmp_path / "moved", asked) == [x, y]
    # Another film at the same path of another folder is another one.
    (tmp_path / "other" / "a").mkdir(parents=True)
    (tmp_path / "other" / "a" / "X").write_text("another film")
    assert IdTable(file, tmp_path).ids_of(tmp_path / "other", asked[:1]) != [x]


def test_two_names_that_look_the_same_are_two(tmp_path):
    names = ["r\u00f6", "ro\u0308"]
    ids = IdTable(None, tmp_path / "out").ids_of(tmp_path, [(name, name) for name in names])
    assert len({*ids}) == 2


def test_another_key_gives_other_ids_and_tables_are_merged_by_their_rows(tmp_path):
    asked = files(tmp_path / "in", "X", "Y")
    one, other = tmp_path / "1" / "id-map.csv", tmp_path / "2" / "id-map.csv"
    (x,) = IdTable(None, one.parent / "out").ids_of(tmp_path / "in", asked[:1])
    (y,) = IdTable(None, other.parent / "out").ids_of(tmp_path / "in", asked[1:])
    assert IdTable(None, other.parent / "out").ids_of(tmp_path / "in", asked[:1]) != [x]
    merged = tmp_path / "merged.csv"
    merged.write_text(one.read_text() + other.read_text())
    assert IdTable(merged, tmp_path).ids_of(tmp_path / "in", asked) == [x, y]
    # As a spreadsheet of another country saves it.
    merged.write_text("\ufeff" + merged.read_text().replace(",", ";"), encoding="utf-8")
    assert IdTable(merged, tmp_path).ids_of(tmp_path / "in", asked) == [x, y]


def test_scripts_at_once_lose_no_row_and_agree_on_the_key(tmp_path):
    def ask(number):
        names = [(f"X{number}{n}", f"X{number}{n}") for n in range(5)]
        return IdTable(None, tmp_path / f"out-{number}").ids_of(tmp_path, names)

    with ThreadPoolExecutor(8) as pool:
        ids = [own for several in pool.map(ask, range(16)) for own in several]
    table = rows(tmp_path / "id-map.csv")
    assert {*ids} == {*table} - {"key"} and len(ids) == 80


def test_a_table_that_is_lost_foreign_twofold_or_closed_is_said(tmp_path):
    lost = tmp_path / "lost.csv"
    with pytest.raises(UserError, match=r"lost\.csv: there is no such table of ids; give --ids"):
        IdTable(lost, tmp_path)
    lost.touch()
    assert len(IdTable(lost, tmp_path).ids_of(tmp_path, [("X", "X")])) == 1
    lost.write_text("case,split\na,train\n")
    with pytest.raises(UserError, match="is no table of ids, whose columns are id, name"):
        IdTable(lost, tmp_path).ids_of(tmp_path, [("X", "X")])
    lost.write_text("id,name,path,folder\nabc,X,X,/a\nabc,Y,Y,/a\n")
    with pytest.raises(UserError, match="holds the id abc twice"):
        IdTable(lost, tmp_path).ids_of(tmp_path, [("X", "X")])


def test_a_place_where_no_file_can_be_is_said(tmp_path):
    (tmp_path / "taken").write_text("a file, and no folder")
    with pytest.raises(UserError, match=r"the table of ids cannot be used .*; give --ids a file"):
        IdTable(None, tmp_path / "taken" / "out").ids_of(tmp_path, [("X", "X")])


def test_the_table_lies_beside_what_is_handed_on(tmp_path):
    assert table_beside(tmp_path / "prepared") == tmp_path / "id-map.csv"
    run = tmp_path / "runs" / "first"
    run.mkdir(parents=True)
    (run / "config.json").write_text("{}")
    (run / "history.csv").touch()
    for inner in ("predictions", "evaluation/clinic/prepared"):
        assert table_beside(run / inner) == tmp_path / "runs" / "id-map.csv"
