"""The page that links the reports of several runs."""

import re
from urllib.parse import unquote

import numpy as np
from PIL import Image

from common import results
from tests.helpers.browser import assert_fits_and_is_quiet


def test_a_page_that_links_all_reports(runs, evaluated, monkeypatch, capsys):
    picture = {"case": "<b>a", "kind": "found", "files": ["gradcam/01-<b>a.png"]}
    folder = evaluated("of sample", project="pneumonia", examples=[picture])
    (folder / "gradcam").mkdir()
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(folder / picture["files"][0])
    page = runs / "pages" / "index.html"
    page.parent.mkdir()
    monkeypatch.setattr("sys.argv", ["results", str(runs), "--output", str(page)])
    results.main()
    printed = capsys.readouterr().out
    assert printed.endswith(f"\nopen first: {page}\n") and "your own data" not in printed
    text = page.read_text()
    links = re.findall(r'href="(\.\./[^"]+)"', text)
    files = {(page.parent / unquote(link)).resolve() for link in links}
    assert {file for file in files if file.name == "report.html"} == {
        path.parent / "report.html" for path in runs.rglob("metrics.json")
    }
    assert (folder / picture["files"][0]).resolve() in files
    # What shows where a network looked comes first, whatever its project is called.
    headings = [name.split(":")[0] for name in re.findall("<h2>(.*?)</h2>", text)[1:]]
    assert headings[:2] == ["pneumonia_classification"] * 2
    assert headings[2:] == ["atrium_segmentation", "heart_detection"]
    assert text.count('src="data:image/png') == 1 and "<b>" not in text
    assert "SYNTHETIC data, of no patient" not in text
    # Of the sample alone it says so, and what to do next.
    monkeypatch.setattr("sys.argv", ["results", str(runs / "of sample"), "--output", str(page)])
    results.main()
    printed, text = capsys.readouterr().out, page.read_text()
    for words in (printed, text):
        assert "python pneumonia_classification/train.py --prepared" in words
    assert "SYNTHETIC data, of no patient" in text
    assert_fits_and_is_quiet(page)
