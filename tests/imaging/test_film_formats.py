"""The page of what is read is what is read."""

from tests.tools.film_formats import PAGE, page


def test_the_page_is_what_its_command_writes_and_nothing_is_read_wrongly():
    text = page()
    assert "WRONG" not in text
    assert PAGE.read_text(encoding="utf-8") == text, "run python -m tests.tools.film_formats"
