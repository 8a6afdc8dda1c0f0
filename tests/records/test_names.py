"""What cases and files are called in what is written."""

import pytest

from common.records.names import Names


class Counted(str):
    """A name that counts how often it is looked at."""

    looks = 0

    def __hash__(self):
        Counted.looks += 1
        return super().__hash__()


@pytest.mark.parametrize(
    "form", ["Ann Radiograph {:06}.png", "Radiograph/Ann {0} visit {0}.png", "{}/Radiograph.png"]
)
def test_a_text_is_held_against_few_names_however_many_share_their_words(tmp_path, form):
    looks = []
    for count in (20, 400):
        names = Names(tmp_path, tmp_path / str(count), None)
        places = [Counted(form.format(number)) for number in range(count)]
        written = names.places(places)
        Counted.looks = 0
        for place, own in zip(places, written, strict=True):
            assert names.text(f"its file is {place!s}") == f"its file is {own}" != place
        looks.append(Counted.looks / count)
    assert looks[1] <= looks[0] + 2, looks
