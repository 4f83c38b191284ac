"""What says of a file by itself that it is what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rsitr.nn import checkpoints
from rsitr.params import load_params
from rsitr.pipeline.forms import whole_arrays
from rsitr.pipeline.targets import Graph
from rsitr.pipeline.verify import verify


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    path = tmp_path / "part-000000.npz"
    np.savez(path, names=np.array(["a", "b"]), embeddings=np.arange(4096, dtype=np.float16))
    return path


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_an_archive_of_arrays_has_a_checksum_of_each(arrays: Path, damage: str) -> None:
    assert [*whole_arrays(arrays)] == []
    content = bytearray(arrays.read_bytes())
    content[5000] ^= 1
    arrays.write_bytes({"cut": content[:-200], "flipped": content, "empty": b""}[damage])
    assert len([*whole_arrays(arrays)]) == 1


def test_caches_are_verified(project: Path, monkeypatch: pytest.MonkeyPatch, arrays: Path) -> None:
    for folder in (Path("cache/meteor"), Path("cache/search/a-folder")):
        folder.mkdir(parents=True)
        (folder / arrays.name).write_bytes(arrays.read_bytes())
    (checkpoint,) = [each for each in checkpoints.checkpoints().values() if each.name == "remoteclip-vit-b-32"]
    weights = checkpoints.CACHE / checkpoint.file
    weights.parent.mkdir()
    weights.write_bytes(b"some other weights")
    (Path("cache/search/a-folder") / arrays.name).write_bytes(b"cut")
    found = verify(Graph(load_params().model_dump()))
    assert (found.files["indexes"], found.files["weights"]) == (2, 1)
    index, other = sorted((each for each in found.damages if each.kind in ("indexes", "weights")), key=str)
    assert str(index).endswith(": rm cache/search/a-folder/part-000000.npz")
    assert str(other) == f"{weights}: it is not the file that was published: rm {weights}; rsitr weights tiny"
