"""Parts of an evaluation: what is written, what is taken, and what is refused."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from common.base.errors import UserError
from common.base.parts import part_folder
from common.base.settings import SharedEvaluate
from common.prediction.parts import merge
from common.training import runs
from common.training.evaluation_parts import Parts, joined
from common.training.evaluations import evaluation_folder, new_evaluation
from tests.helpers.run_folders import end, prepared_in

COUNT, BATCH = 11, 2
SETTINGS = SharedEvaluate(batch_size=BATCH)


@pytest.fixture
def opened(project, run):
    end(run)
    return runs.open_run(project, SharedEvaluate(run=run))


@pytest.fixture
def data(prepared):
    prepared.manifest["shards"]["test"][0]["records"] = COUNT
    return prepared


def predicted(new, records):
    """A row a record but the fourth, and a picture of each."""
    (new / "masks").mkdir(exist_ok=True)
    kept = [record for record in records if record != 3]
    for record in kept:
        (new / "masks" / f"c{record}").write_text(str(record))
    if not kept:
        return {}
    return {"case": [f"c{record}" for record in kept], "box": np.array(kept)[:, None] / 7}


def evaluate(opened, data, settings=SETTINGS, predict=predicted):
    """What evaluate.py does, without scores."""
    folder = evaluation_folder(opened, settings)[1]
    with new_evaluation(part_folder(folder, settings.part), "masks") as new:
        parts = Parts(new, [opened], data, ["test"], settings, BATCH)
        if settings.part:
            parts.write(partial(predict, new))
            return None
        columns = parts.columns(partial(predict, new))
        (new / "metrics.json").write_text("{}")
    return columns, {path.name: path.read_text() for path in (folder / "masks").iterdir()}


def never(new, records):
    pytest.fail(f"predicted {records}")


# As many parts as batches, fewer, and more.
@pytest.mark.parametrize("count", [1, 2, 6, 9])
def test_parts_are_what_one_run_predicts_and_then_go(opened, data, count, capsys):
    once, masks = evaluate(opened, data)
    assert once["case"].tolist() == [f"c{n}" for n in range(COUNT) if n != 3]
    settings = [replace(SETTINGS, part=f"{number}/{count}") for number in range(1, count + 1)]
    for part in reversed(settings):
        evaluate(opened, data, part)
    evaluate(opened, data, settings[0], never)
    assert f"1-of-{count}: is predicted already, nothing to do" in capsys.readouterr().out
    columns, taken = evaluate(opened, data, predict=never)
    assert taken == masks
    for name, column in once.items():
        np.testing.assert_array_equal(columns[name], column)
        assert columns[name].dtype == column.dtype
    folder = opened.folder / "evaluation" / "test"
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "masks", "metrics.json"]


def refusal(opened, data, settings=SETTINGS):
    with pytest.raises(UserError) as error:
        evaluate(opened, data, settings, never)
    return str(error.value)


def test_parts_that_do_not_make_a_whole_are_refused_by_name(opened, data, project):
    first, second = (replace(SETTINGS, part=part) for part in ("1/2", "2/2"))
    evaluate(opened, data, second)
    line = refusal(opened, data)
    assert "test/parts: 1-of-2 did not end; start the same evaluate.py with --part 1/2; or" in line
    evaluate(opened, data, first)
    other = replace(SETTINGS, batch_size=4)
    for settings in (other, replace(other, part="1/2")):
        line = refusal(opened, data, settings)
        assert "1-of-2: was predicted with other values of --batch-size; give the same" in line
        assert f"or remove {opened.folder}/evaluation/test/parts/1-of-2 and predict" in line
    anew = prepared_in(project.prepared(False), sha256="1")
    assert "other values of the data; give" in refusal(opened, anew)
    trained = replace(opened, fitted={"sha256": {"model.keras": "1"}})
    assert "other values of the run; give" in refusal(trained, data)
    # What is only written, or decided by predictions, needs no other ones.
    evaluate(opened, data, replace(first, pictures=1, seed=3), never)
    evaluate(opened, data, replace(first, part="1/3"))
    assert "which are not the parts of one number" in refusal(opened, data)


@pytest.mark.damaged
def test_how_a_source_is_prepared_may_differ_between_parts(opened, data, tmp_path):
    given = replace(SETTINGS, source=tmp_path, name="clinic")
    evaluate(opened, data, replace(given, part="1/1", workers=3, bad_files_limit=0.5))
    columns, _ = evaluate(opened, data, given, never)
    assert len(columns["case"]) == COUNT - 1


def test_a_damaged_part_is_named_and_a_failed_one_leaves_nothing(opened, data):
    part = replace(SETTINGS, part="1/1")
    folder = opened.folder / "evaluation" / "test" / "parts" / "1-of-1"

    def fails(new, records):
        predicted(new, records)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        evaluate(opened, data, part, fails)
    assert [path.name for path in folder.iterdir()] == [".lock"]
    evaluate(opened, data, part)
    content = (folder / "part.npz").read_bytes()
    for damaged in (content[:-100], b"", b"no such file" * 9):
        (folder / "part.npz").write_bytes(damaged)
        assert f"{folder}/part.npz: is damaged; remove {folder} and" in refusal(opened, data)


def test_an_evaluation_that_fails_keeps_its_parts(opened, data):
    folder = opened.folder / "evaluation" / "test"
    evaluate(opened, data, replace(SETTINGS, part="1/1"))
    with pytest.raises(ZeroDivisionError), new_evaluation(folder) as new:
        assert Parts(new, [opened], data, ["test"], SETTINGS, BATCH).columns(partial(never, new))
        raise ZeroDivisionError
    evaluate(opened, data, predict=never)


def test_merge_says_what_makes_an_evaluation_of_its_parts(opened, data):
    evaluate(opened, data, replace(SETTINGS, part="1/1"))
    with pytest.raises(UserError, match=r"the same evaluate\.py without --part makes it of its"):
        merge(opened.folder / "evaluation" / "test")


def test_columns_are_joined_in_order_and_words_become_numpys():
    columns = joined([{"a": ["x"], "b": [[1.5]]}, {}, {"a": np.array(["yz"], object), "b": [[2]]}])
    assert columns["a"].tolist() == ["x", "yz"] and columns["a"].dtype.kind == "U"
    assert columns["b"].tolist() == [[1.5], [2.0]]
    assert joined([]) == joined([{}]) == {}
