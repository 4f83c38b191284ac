"""From a folder of one's own to a dataset that the pipeline knows: all of it or nothing, with what was lost."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rsitr.datasets import get_dataset, known, registry
from rsitr.datasets.acquire import RECEIPT, build, fetch_dataset
from rsitr.datasets.importing import import_folder
from rsitr.datasets.splits import load_splits
from rsitr.datasets.table import read_table
from rsitr.datasets.verify import verify
from rsitr.dedup.clean import write_clean
from rsitr.errors import DatasetError, DiskFull, ParamsError, RsitrError
from rsitr.params.ids import CleanId
from rsitr.records.paths import Paths
from tests.helpers.commands import refused, run
from tests.helpers.localisation_scenes import write_tiff
from tests.helpers.pictures import picture
from tests.helpers.shards_of_colours import write_tar

RAW = Paths.raw("mine")
SPLITS = ["train"] * 12 + ["val"] * 4 + ["test"] * 4


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(number, 32)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty pictures with two captions each, named as on Windows; the working folder is a project next to it."""
    place = tmp_path / "own pictures"
    (place / "images/port").mkdir(parents=True)
    entries = []
    for number, split in enumerate(SPLITS):
        (place / f"images/port/{number:02}.png").write_bytes(png(number))
        sentences = [{"raw": f"port {number}"}, {"raw": "a port"}]
        entries.append({"filename": f"port\\{number:02}.png", "split": split, "sentences": sentences})
    (place / "dataset.json").write_text(json.dumps({"images": entries}))
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return place


def built(name: str = "mine") -> Any:
    build(name, Paths.raw(name) / RECEIPT, Paths.extracted(name), Paths.dataset(name))
    return read_table(Paths.dataset(name))


def edit(folder: Path, change: Any) -> None:
    content = json.loads((folder / "dataset.json").read_text())
    change(content["images"])
    (folder / "dataset.json").write_text(json.dumps(content))


def files(place: Path) -> dict[str, bytes]:
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_bands_and_nodata_of_images_that_do_not_declare_them(folder: Path) -> None:
    """Each image has four bands of one value, 10 to 40, and one pixel of 99; all of it survives a build of its own."""
    values = np.repeat(np.arange(10, 50, 10, dtype=np.uint8), 32 * 32).reshape(4, 32, 32)
    values[:, 0, 0] = 99
    for path in (folder / "images/port").glob("*.png"):
        write_tiff(path.with_suffix(".tif"), values)
        path.unlink()
    edit(folder, lambda images: [image.update(filename=image["filename"].replace("png", "tif")) for image in images])
    done = run("data", "import", str(folder), "--as", "mine", "--bands", "4,3,2", "--nodata", "99")
    assert done.exit_code == 0, done.output
    assert "20 of 20 images are not plain pictures of 8 bits" in run("data", "build", "mine").stderr
    table, facts = read_table(Paths.dataset("mine"))
    seen = np.asarray(Image.open(Path(facts.root, table["path"][0].as_py())))
    assert (seen == [40, 30, 20]).all()
    for wrong in ("4,3", "red", "0"):
        assert "give three numbers such as 4,3,2" in refused(
            "data", "import", str(folder), "--as", "b", "--bands", wrong
        )


def test_a_folder_becomes_a_dataset(folder: Path) -> None:
    done = import_folder(folder, "mine", title="My pictures", licence="CC0")
    assert done == (RAW / RECEIPT, "karpathy", {"train": 12, "val": 4, "test": 4}, 40, 0, [])
    receipt = json.loads(done.receipt.read_text())
    assert receipt["images"] == str(folder / "images")
    assert sorted(path.name for path in RAW.iterdir()) == ["annotation.json", "source.json"]
    table, facts = built()
    assert (facts.name, facts.title, facts.origin, facts.licence) == ("mine", "My pictures", "imported", "CC0")
    assert table["path"][0].as_py() == "images/port/00.png"
    assert not any(table["problem"].to_pylist())
    write_clean(CleanId("mine"))
    splits = load_splits(Paths.clean(CleanId("mine")))[0]
    assert {name: (len(split.paths), len(split.captions)) for name, split in splits.items()} == {
        **{"train": (12, 24), "val": (4, 8), "test": (4, 8)}
    }
    assert all(path.is_file() for split in splits.values() for path in split.paths)
    assert verify("mine", RAW, Paths.dataset("mine"))[:4] == (1, 20, [], [])


def test_it_is_known_and_fetching_it_is_no_work(folder: Path) -> None:
    with pytest.raises(ParamsError, match=r"unknown dataset 'mine': .* with `rsitr data import FOLDER --as"):
        get_dataset("mine")
    import_folder(folder, "mine")
    assert set(known()) - set(registry()) == {"mine"}
    assert fetch_dataset("mine", RAW, None) == RAW / RECEIPT
    assert json.loads((RAW / RECEIPT).read_text())["layout"] == "karpathy"
    (RAW / "annotation.json").unlink()
    with pytest.raises(DatasetError, match=r"was imported, not fetched: import it again \(`rsitr data import FOLDER"):
        fetch_dataset("mine", RAW, None)
    (RAW / RECEIPT).write_text("{")
    assert set(known()) == set(registry())


def test_importing_again_gives_the_same_files_and_replaces_others(folder: Path) -> None:
    import_folder(folder, "mine")
    first = files(RAW)
    first_sha = built()[1].data_sha
    import_folder(folder, "mine")
    assert files(RAW) == first
    assert built()[1].data_sha == first_sha
    edit(folder, lambda images: images[0]["sentences"].pop())
    assert import_folder(folder, "mine").captions == 39
    assert built()[1].data_sha != first_sha
    assert [path.name for path in RAW.parent.iterdir()] == ["mine"]


def test_images_whose_folder_is_gone(folder: Path) -> None:
    import_folder(folder, "mine")
    shutil.rmtree(folder)
    with pytest.raises(DatasetError, match="own pictures/images, the images of mine, is not there: import it again"):
        built()


def test_shards_are_unpacked(folder: Path, tmp_path: Path) -> None:
    for shard, split in enumerate(("train", "test")):
        members = []
        for number in range(shard * 3, shard * 3 + 3):
            fields = json.dumps({"caption": f"port {number}"}).encode()
            members += [(f"{number}.png", png(number)), (f"{number}.json", fields)]
        write_tar(tmp_path / f"shards/{split}-0.tar", members)
    done = import_folder(tmp_path / "shards", "mine")
    assert done == (RAW / RECEIPT, "webdataset", {"train": 3, "test": 3}, 6, 0, [])
    assert files(RAW / "images") == {
        f"{'train' if number < 3 else 'test'}-0/{number}.png": png(number) for number in range(6)
    }
    first = files(RAW)
    import_folder(tmp_path / "nowhere", "mine", annotation=tmp_path / "shards" / "{train,test}-0.tar")
    assert files(RAW) == first
    shutil.rmtree(tmp_path / "shards")
    assert not any(built()[0]["problem"].to_pylist())


def test_a_little_may_be_lost_and_is_named(folder: Path) -> None:
    (folder / "images/port/03.png").unlink()
    edit(folder, lambda images: images[5]["sentences"].append({"raw": ""}))
    edit(folder, lambda images: images.append({"filename": "x.png", "split": "test", "sentences": []}))
    with pytest.raises(DatasetError, match=r"2 of 21 images would be lost, more than 5 %"):
        import_folder(folder, "mine")
    assert not RAW.parent.exists() or not list(RAW.parent.iterdir())
    edit(folder, lambda images: images.pop())
    assert import_folder(folder, "mine").lost == [
        "1 caption: the caption is blank, e.g. dataset.json: images[5], caption 3",
        f"1 image: the image is not in {folder / 'images'}, e.g. port/03.png",
    ]
    with pytest.raises(DatasetError, match="1 of 20 images would be lost, more than 4 %"):
        import_folder(folder, "mine", at_most=0.04)


def test_everything_lost_is_too_much(folder: Path) -> None:
    shutil.rmtree(folder / "images")
    with pytest.raises(DatasetError, match=r"20 of 20 images would be lost.*raise --lost-at-most"):
        import_folder(folder, "mine", at_most=1)


def test_images_without_captions_are_counted_and_no_caption_at_all_is_refused(folder: Path) -> None:
    edit(folder, lambda images: images[0].update(sentences=[]))
    done = import_folder(folder, "mine")
    assert (done.without, done.captions) == (1, 38)
    edit(folder, lambda images: [image.update(sentences=[]) for image in images])
    with pytest.raises(DatasetError, match="no image of mine has a caption"):
        import_folder(folder, "mine")
    assert json.loads((RAW / "annotation.json").read_text())["images"][1]["sentences"]  # as it was before


def test_images_two_folders_down(folder: Path) -> None:
    (folder / "unpacked").mkdir()
    (folder / "images").rename(folder / "unpacked/images")
    (folder / "other").mkdir()
    done = import_folder(folder, "mine")
    assert (sum(done.images.values()), done.lost) == (20, [])
    assert json.loads(done.receipt.read_text())["images"] == str(folder / "unpacked/images")


def test_ids_without_an_ending_find_their_images(folder: Path) -> None:
    (folder / "dataset.json").unlink()
    (folder / "test_ids.txt").write_text("port/00\nport/01\n")
    (folder / "test_caps.txt").write_text("a\nb\nc\nd\n")
    import_folder(folder, "mine")
    assert built()[0]["image_id"].to_pylist() == ["port/00.png", "port/01.png"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *((name, "cannot be the name of a dataset") for name in ("Mine", "../x", "", "a/b", "-x", "a b", "a\n")),
        ("ucm", "ucm is a dataset of its own"),
    ],
)
def test_names(folder: Path, name: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        import_folder(folder, name)


def test_what_is_not_to_be_replaced(folder: Path) -> None:
    RAW.mkdir(parents=True)
    (RAW / "precious.png").touch()
    with pytest.raises(DatasetError, match="data/raw/mine is there and was not imported: move it away"):
        import_folder(folder, "mine")
    (RAW / "precious.png").unlink()
    RAW.rmdir()
    import_folder(folder, "mine")
    shutil.copytree(folder / "images", RAW / "images")
    with pytest.raises(DatasetError, match="which an import replaces: move the images elsewhere"):
        import_folder(RAW, "mine", annotation=folder / "dataset.json")
    assert (RAW / "images/port/00.png").is_file()


def test_a_failure_leaves_the_import_before(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_folder(folder, "mine")
    before = files(RAW)
    path = write_tar(tmp_path / "test-0.tar", [("0.png", png(0)), ("0.txt", b"a"), ("1.png", png(1)), ("1.txt", b"b")])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 10))  # type: ignore[attr-defined]
    with pytest.raises(DiskFull, match=r"the images take .* bytes and the disk"):
        import_folder(path, "mine")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path / "project")
    fields = [json.dumps({"image_id": name, "captions": ["a"]}).encode() for name in ("a", "a/b")]
    members = [(f"{n}.{kind}", data) for n in (0, 1) for kind, data in (("png", png(n)), ("json", fields[n]))]
    with pytest.raises(RsitrError, match="names a/b as a file and as a folder"):
        import_folder(write_tar(tmp_path / "test-1.tar", members), "mine")
    assert files(RAW) == before
    assert [path.name for path in RAW.parent.iterdir()] == ["mine"]


def test_by_command(folder: Path) -> None:
    (folder / "images/port/03.png").unlink()
    result = run("data", "import", str(folder), "--as", "mine", "--licence", "CC0")
    assert result.exit_code == 0
    assert result.stdout == ("data/raw/mine/source.json: karpathy, 19 images (11 train, 4 val, 4 test), 38 captions\n")
    assert result.stderr == (f"mine: left out: 1 image: the image is not in {folder / 'images'}, e.g. port/03.png\n")
    line = next(line for line in run("data", "list").stdout.splitlines() if "mine" in line)
    assert [cell.strip() for cell in line.strip("│").split("│")] == ["mine", "mine", "imported", "CC0"]
    assert "more than 1 %, so that mine was not imported" in refused(
        "data", "import", str(folder), "--as", "mine", "--lost-at-most", "1"
    )
    assert "gone is not there: name the folder of the images" in refused("data", "import", "gone", "--as", "x")
    assert run("data", "fetch", "mine").stdout == "data/raw/mine/source.json\n"
    assert run("data", "build", "mine").exit_code == 0
