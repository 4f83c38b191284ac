"""A page of a user's own pictures: what is in its folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsitr.errors import ParamsError
from rsitr.records.bundle import read_bundle
from rsitr.search.index import Index
from rsitr.search.pictures import pictures_at
from rsitr.search.shipped import MODEL
from rsitr.search_page import own
from rsitr.site.frame import PAGES, SEARCH
from tests.helpers.tower_model import TowerModel


@pytest.fixture
def index(tmp_path: Path) -> Index:
    place = tmp_path / "mine"
    place.mkdir()
    for number in range(3):
        Image.new("RGB" if number else "L", (300, 200)).save(place / f"{number}.png")
    (place / "cut.png").write_bytes(b"half")
    return Index(tmp_path / "index", pictures_at(place), TowerModel()).update()


def test_names_embeddings_thumbnails_and_what_is_lost(index: Index, tmp_path: Path) -> None:
    page = own.write(tmp_path / "site", index, "rsitr search mine --site site")
    site = json.loads((tmp_path / "site/site.json").read_text(encoding="utf-8"))
    (found,) = site["searched"]
    assert (found["count"], found["tower"], found["tiles"]) == (3, True, None)
    assert [problem.split(":")[0] for problem in site["problems"]] == ["cut.png"]
    script = (tmp_path / "site" / found["file"]).read_text(encoding="utf-8")
    value = json.loads(script.removeprefix('RSITR.put("search/mine/pictures",').removesuffix(");\n"))
    assert value["names"] == ["0.png", "1.png", "2.png"]
    import base64

    rows = np.frombuffer(base64.b64decode(value["embeddings"]), dtype="<f2").reshape(3, -1)
    assert np.array_equal(rows, index.embeddings)
    np.testing.assert_allclose(np.linalg.norm(rows.astype(float), axis=1), 1, atol=1e-3)
    with Image.open(tmp_path / "site/pictures/mine/2.jpg") as small:
        assert max(small.size) == 128
    text = page.read_text(encoding="utf-8")
    assert [line.split('"')[1] for line in text.splitlines() if 'src="pages/' in line] == [f"pages/{n}" for n in SEARCH]
    assert "vendor/tabulator.min.js" not in text
    assert "vendor/tabulator.min.js" in (PAGES / "index.html").read_text(encoding="utf-8")


def test_the_tower_is_that_of_the_shipped_model_alone(index: Index) -> None:
    assert [*TowerModel().facts.weights.files.values()] == [read_bundle(MODEL).weights_sha]


def test_another_folder_is_not_replaced(index: Index, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="mine is not a site"):
        own.write(tmp_path / "mine", index, "")
    assert (tmp_path / "mine/0.png").is_file()
