"""An index is made once, follows its pictures, survives interruptions, and finds what looks like the query."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from rsitr.errors import DatasetError, ParamsError
from rsitr.external.models import DOT_PRODUCT, ModelFacts
from rsitr.records.artefact import Pretrained
from rsitr.search import index as module
from rsitr.search.index import Index
from rsitr.search.page import Result, page
from rsitr.search.pictures import Windows, box, pictures_at
from tests.helpers.commands import refused, run
from tests.helpers.localisation_scenes import write_tiff

RED, GREEN, BLUE = (220, 10, 10), (10, 220, 10), (10, 10, 220)
COLOURS = {"red": RED, "green": GREEN, "blue": BLUE}


class MeanColour:
    """Encodes a picture as its mean colour, a text as the colour that it names, and keeps count."""

    scorer = DOT_PRODUCT

    def __init__(self, name: str = "colours", fails_after: int = 10**9):
        self.facts = ModelFacts("fake", Pretrained(location=name, files={}), 0, None)
        self.seen, self.fails_after = 0, fails_after

    def encode_images(self, pictures):
        self.seen += len(pictures)
        if self.seen > self.fails_after:
            raise KeyboardInterrupt
        return torch.tensor(np.array([np.asarray(picture).mean((0, 1)) for picture in pictures]), dtype=torch.float32)

    def encode_texts(self, texts):
        return torch.tensor([COLOURS[text] for text in texts], dtype=torch.float32)


def paint(path: Path, colour: tuple[int, int, int], side: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), colour).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, one of them in a folder, and what is none."""
    place = tmp_path / "my pictures"
    paint(place / "a.png", RED)
    paint(place / "b.jpg", BLUE)
    paint(place / "more" / "c.TIF", (200, 60, 10))
    paint(place / ".thumbnails" / "a.png", RED)
    (place / "notes.txt").write_text("no picture")
    (place / "cut.png").write_bytes((place / "a.png").read_bytes()[:40])
    return place


@pytest.fixture
def indexed(folder: Path, tmp_path: Path):
    """``indexed(model)``: the index of the folder, up to date."""
    return lambda model: Index(tmp_path / "index", pictures_at(folder), model).update()


def found(index: Index, text: str, count: int = 10) -> list[str]:
    return [hit.name for hit in index.search(index.model.encode_texts([text]), count)[0]]


def test_pictures_come_in_the_order_of_their_cosine(indexed):
    index = indexed(MeanColour())
    assert found(index, "red") == ["a.png", "more/c.TIF", "b.jpg"]
    assert found(index, "blue", 1) == ["b.jpg"]
    (hit,) = index.search(torch.tensor([[2.0 * value for value in RED]]), 1)[0]
    assert hit.score == pytest.approx(1, abs=1e-3)
    assert [*index.lost] == ["cut.png"]
    assert "cut.png is cut off or damaged" in index.lost["cut.png"]


def test_only_what_is_new_or_changed_is_encoded(indexed, folder):
    assert (indexed(MeanColour()).new, (again := indexed(MeanColour())).new, again.model.seen) == (4, 0, 0)
    assert [*again.lost] == ["cut.png"]
    paint(folder / "b.jpg", GREEN)
    paint(folder / "d.png", BLUE)
    os.utime(folder / "b.jpg", ns=(1, 1))
    (folder / "a.png").unlink()
    index = indexed(model := MeanColour())
    assert (index.new, model.seen) == (2, 2)
    assert found(index, "green") == ["b.jpg", "more/c.TIF", "d.png"]


def test_an_interrupted_indexing_continues(indexed, monkeypatch):
    monkeypatch.setattr(module, "PART", 2)
    with pytest.raises(KeyboardInterrupt):
        indexed(MeanColour(fails_after=2))
    index = indexed(model := MeanColour())
    assert model.seen == 1
    assert found(index, "red") == ["a.png", "more/c.TIF", "b.jpg"]


def test_a_damaged_part_is_made_again(indexed, tmp_path, capsys):
    indexed(MeanColour())
    part = tmp_path / "index/part-000000.npz"
    part.write_bytes(part.read_bytes()[:-30])
    index = indexed(model := MeanColour())
    assert model.seen == 3
    assert found(index, "red") == ["a.png", "more/c.TIF", "b.jpg"]
    assert "part-000000.npz.damaged is damaged: its pictures are encoded again" in capsys.readouterr().err


def test_what_is_passed_over_leaves_the_disk(indexed, folder, tmp_path):
    for number in range(8):
        paint(folder / f"{number}.png", GREEN)
    indexed(MeanColour())
    for number in range(8):
        (folder / f"{number}.png").unlink()
    first = indexed(MeanColour())
    with np.load(tmp_path / "index/part-000001.npz") as part:
        assert part["names"].tolist() == ["a.png", "b.jpg", "cut.png", "more/c.TIF"]
    assert not (tmp_path / "index/part-000000.npz").exists()
    again = indexed(model := MeanColour())
    assert model.seen == 0
    assert found(first, "red") == found(again, "red") == ["a.png", "more/c.TIF", "b.jpg"]


def test_an_index_is_of_one_place_and_one_model(indexed, folder, tmp_path):
    indexed(MeanColour())
    with pytest.raises(ParamsError, match="is the index of other pictures or of another model"):
        indexed(MeanColour("others"))
    slow = MeanColour()
    slow.scorer = SimpleNamespace(interacts=True)
    with pytest.raises(ParamsError, match="scores pairs and has no embeddings to search"):
        Index(tmp_path / "other", pictures_at(folder), slow)


def test_where_nothing_can_be_searched_the_reason_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    for number in range(3):
        (tmp_path / "empty" / f"{number}.csv").write_text("1")
    with pytest.raises(DatasetError, match="empty has no picture among its 3 files"):
        Index(tmp_path / "index", pictures_at(tmp_path / "empty"), MeanColour()).update()
    (tmp_path / "empty/x.png").write_bytes(b"half")
    index = Index(tmp_path / "index", pictures_at(tmp_path / "empty"), MeanColour()).update()
    with pytest.raises(DatasetError, match=r"no picture of .*empty can be read: .*x\.png is not a picture of"):
        found(index, "red")
    with pytest.raises(ParamsError, match="gone does not exist: name a folder of pictures or the file of a scene"):
        pictures_at(tmp_path / "gone")


def test_a_query_of_another_width_is_refused(indexed):
    with pytest.raises(DatasetError, match="queries have 2 dimensions and pictures 3"):
        indexed(MeanColour()).search(torch.ones(1, 2), 1)


def test_windows_of_a_scene_are_pictures(tmp_path):
    values = np.zeros((3, 48, 64), dtype=np.uint8)
    values[2] = 200
    values[:, 16:32, 32:48] = np.array(RED)[:, None, None]
    scene = write_tiff(tmp_path / "scene.tif", values)
    index = Index(tmp_path / "index", pictures_at(scene, 16), MeanColour()).update()
    # Windows of 16 pixels side by side, and shifted by half a window; the last one at the border is both.
    assert len(index.names) == 3 * 4 + 3 * 4 - 1
    assert found(index, "red", 1) == ["16,32 16x16"]
    assert box("16,32 16x16") == (16, 32, 16, 16)
    assert Windows(scene, 16).picture("16,32 16x16").getpixel((3, 3)) == RED
    assert index.update().new == 0


def test_the_page_holds_its_pictures_and_no_text_of_a_name_runs(folder):
    paint(folder / "<script>alert(1)<" / "x.png", RED)
    pictures = pictures_at(folder)
    hits = [module.Hit("<script>alert(1)</x.png", 0.5), module.Hit("a.png", 0.25)]
    text = page(pictures, 1234, "a <model>", [Result("two <b>planes</b>", hits, Image.new("RGB", (500, 500), RED))])
    assert "<script>" not in text
    assert "two &lt;b&gt;planes&lt;/b&gt;" in text
    assert "1. &lt;script&gt;alert(1)&lt;/x.png" in text
    assert "1,234 pictures in my pictures" in text
    assert text.count('src="data:image/jpeg;base64,') == 3
    assert "http" not in text


def test_the_command_searches_a_folder_in_words_and_by_a_picture(folder, tiny_clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = ("--model", f"open_clip:{tiny_clip}", "--weights", "none")
    torch.manual_seed(0)
    ended = run("search", str(folder), "a red dot", "--image", str(folder / "b.jpg"), *model, "--page", "found.html")
    assert ended.exit_code == 0, ended.output
    assert "a red dot" in ended.stdout
    assert "│ 1 │ 1.000  │ b.jpg      │" in ended.stdout
    assert f"3 pictures of {folder}, 4 of them new, 1 unreadable\nunreadable: cut.png: " in ended.stdout
    assert Path("found.html").read_text().count("<figure>") == 6
    assert "say what to look for: a text, or --image FILE" in refused("search", str(folder), *model)


def test_the_command_writes_a_page_to_search_in(folder, tiny_clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = ("--model", f"open_clip:{tiny_clip}", "--weights", "none")
    ended = run("search", str(folder), *model, "--site", "page")
    assert ended.exit_code == 0, ended.output
    assert "open page/index.html" in ended.stdout
    assert len([*Path("page/pictures/my pictures").iterdir()]) == 3
    # The text tower of the page is of another model.
    assert not Path("page/data/search/tower.js").exists()
    assert "my pictures is not a site" in refused("search", str(folder), *model, "--site", str(folder))
    assert "gone is not a site: write one with `rsitr search FOLDER --site gone`" in refused("serve", "gone")
