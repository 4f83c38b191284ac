"""A small project with records of every state, unkind texts and a damaged record, from which a site is built."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from rsitr.datasets.base import Row
from rsitr.datasets.canonical import data_sha, rows_to_frame
from rsitr.datasets.splits import SplitData, load_splits
from rsitr.datasets.table import CLEAN_SCHEMA, DATASET_SCHEMA, DatasetFacts
from rsitr.dedup.clean import clean
from rsitr.params import Params, parse_params
from rsitr.params.ids import EXTERNAL, CleanId
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Epoch, Published, Record, write_history
from rsitr.records.files import write_csv, write_json, write_text
from rsitr.records.parquet import write_table
from rsitr.records.paths import Paths
from rsitr.retrieval.rank_files import SplitRanks, write_ranks
from rsitr.retrieval.recall import Ranks
from rsitr.retrieval.top_files import SplitTop, Top, write_top
from tests.helpers.lab import Records

NASTY = "</script><script>window.broken = 1</script> & \"it's\" \u2028 <img src=x onerror='window.broken = 1'>"
RIGHT_TO_LEFT = "\u05e2\u05d9\u05e8 \u202e\u0645\u062f\u064a\u0646\u0629"
SHARED = "A red dot."
MAIN = ("vse", "vse++", "amfmn-sim", "swan")
STRENGTH = {"vse": 0.3, "vse++": 1.0, "amfmn-sim": 1.1, "swan": 1.0, "vse++@dynamic": 1.5, "chance": 0.0, "theirs": 3.0}
"""By how much an own item is ahead: the higher, the better the ranks."""
PUBLISHED = Published(paper="amfmn2022", table="table2", method="vse++")
CUT = "results/cells/lab/ucm/clip/0/cell.json"


def parameters() -> Params:
    """The experiment ``lab``: a real dataset and a generated one."""
    matrix = [
        {"datasets": ["ucm"], "methods": [*MAIN, "scan-t2i"], "seeds": [0, 1]},
        {"datasets": ["scenes-b"], "methods": ["vse", "vse++"], "seeds": [0]},
        {"datasets": ["ucm"], "methods": ["vse++@dynamic"], "seeds": [0], "role": "ablation"},
        {"datasets": ["ucm"], "methods": ["chance", "clip"], "seeds": [0], "role": "control"},
    ]
    settings = {"methods": {"vse++@dynamic": {"margin_type": "dynamic"}}}
    lab = {"title": "The <b>lab</b>", "matrix": matrix, "settings": settings}
    return parse_params({"experiment": "lab", "experiments": {"lab": lab}})


def _captions(number: int) -> tuple[str, ...]:
    first = {12: NASTY, 13: RIGHT_TO_LEFT}.get(number, f"number {number} on green ground")
    return (first, SHARED if number % 2 else f"A blue bar, the {number}.")


def _scenes() -> SplitData:
    """The data of ``scenes-b``, as it is here, and its test split."""
    root = Paths.extracted("scenes-b")
    root.mkdir(parents=True)
    rows = []
    for number in range(18):
        name = 'a "quoted" <i>.png' if number == 14 else f"{number:02}.png"
        Image.new("RGB", (32, 32), (10 * number, 90, 60)).save(root / name)
        split = "train" if number < 8 else "val" if number < 12 else "test"
        rows.append(Row(name, name, split, f"class-{number % 3}", _captions(number), ()))
    frame = rows_to_frame(iter(rows), root)
    facts = DatasetFacts("scenes-b", "Shapes", "generated", "Apache-2.0", True, root.as_posix(), data_sha(frame))
    write_table(pa.Table.from_pandas(frame, DATASET_SCHEMA, preserve_index=False), facts, Paths.dataset("scenes-b"))
    cleaned, path = clean(frame, "none"), Paths.clean(CleanId("scenes-b"))
    write_table(pa.Table.from_pandas(cleaned, CLEAN_SCHEMA, preserve_index=False), facts, path)
    return load_splits(path)[0]["test"]


def _ucm() -> SplitData:
    ids = [f"{number}.tif" for number in range(40)]
    captions = [f"a caption that no page may show {number}" for number in range(200)]
    return SplitData(ids, [Path(name) for name in ids], [""] * 40, captions, np.repeat(np.arange(40), 5), ("",) * 40)


def _ranked(split: SplitData, strength: float, seed: int) -> tuple[SplitRanks, SplitTop]:
    """Ranks and first items by drawn scores in which own items are ahead by ``strength``."""
    own = np.arange(len(split.image_ids))[:, None] == split.image_of[None, :]
    scores = np.random.default_rng(seed).normal(size=own.shape) + strength * own
    i2t, t2i = (np.argsort(-side, axis=1) for side in (scores, scores.T))
    first = [1 + np.argmax(np.take_along_axis(o, order, 1), 1) for o, order in ((own, i2t), (own.T, t2i))]
    ranks = Ranks(*(each.astype(np.int64) for each in first))
    counted = Ranks(np.maximum(1, ranks.i2t - 1), np.maximum(1, ranks.t2i - 1))
    tops = [
        Top(order[:, :10].astype(np.int32), np.take_along_axis(side, order, 1)[:, :10].astype(np.float32))
        for side, order in ((scores, i2t), (scores.T, t2i))
    ]
    return SplitRanks(ranks, counted, ranks), SplitTop(*tops)


def _put(records: Records, split: SplitData, dataset: str, method: str, seed: int, **fields: object) -> None:
    records.put(
        dataset,
        method,
        seed,
        parameters={"total": 1_000_000 + 7 * seed, "trainable": 4},
        seconds={"train": 10.0 + len(method), "inference": 0.01, "evaluate": 1.5},
        selection={"ended": "converged", "epochs": 3, "epoch": 2, "steps": 30},
        config={"image_backbone": "tf_efficientnet_lite0", "learning_rate": 0.01, "margin": 0.2},
        **fields,
    )
    folder = records.cells / "lab" / dataset / method / str(seed)
    _put_ranks(folder, split, method, seed)
    epochs = ((1, 20.0), (2, 31.0), (3, 30.0))
    rest = {"learning_rate": 0.01, "image_cosine": 0.1}
    history = [Epoch(epoch=n, loss=1 / n, val_mr=mr, val_dup_mr=mr + 9, **rest) for n, mr in epochs]
    write_history(folder / "history.csv", history)


def _put_ranks(folder: Path, split: SplitData, method: str, seed: int) -> None:
    ranks, top = _ranked(split, STRENGTH[method], 10 * seed + len(method))
    write_ranks(folder / "ranks.parquet", split, ranks)
    if seed == 0:
        write_top(folder / "top.parquet", split, top)


def _put_external(split: SplitData, dataset: str, method: str) -> None:
    """What somebody else has made, as ``rsitr assess`` records it."""
    folder = Paths.external(dataset) / method
    leaks = {"rsicd": [3, len(split.image_ids)], "sydney": None}
    record = Record(
        **{"experiment": EXTERNAL, "dataset": dataset, "method": method, "seed": 0, "role": EXTERNAL},
        config={"model": "open_clip ViT-B-32", "trained_on": [*leaks]},
        data={"leaks": leaks},
        seconds={"encode": 3.0, "score": 0.5},
    )
    write_json(folder / "cell.json", record)
    _put_ranks(folder, split, method, 0)


def lay_out() -> Params:
    """Write the project into the current folder."""
    records, ucm, scenes = Records(Path("results")), _ucm(), _scenes()
    for method in MAIN:
        for seed in (0, 1):
            published = PUBLISHED if method == "vse++" else None
            deviations = ["margin 0.2 instead of 0.5", NASTY] if method == "vse++" else []
            _put(records, ucm, "ucm", method, seed, published=published, deviations=deviations)
    records.put("ucm", "scan-t2i", 0, outcome=Outcome(status="failed", reason=NASTY, traceback="line"))
    _put(records, ucm, "ucm", "vse++@dynamic", 0)
    _put(records, ucm, "ucm", "chance", 0)
    for method in ("vse", "vse++"):
        _put(records, scenes, "scenes-b", method, 0)
    _put_external(ucm, "ucm", "theirs")
    write_text(Path(CUT), Path("results/cells/lab/ucm/chance/0/cell.json").read_text(encoding="utf-8")[:300])
    out = Paths.tables("lab")
    write_text(
        out / "splits.csv",
        f"table,protocol,images train\nSplit protocols,<i>official</i>,12 [1]\n# [1] {RIGHT_TO_LEFT}\n",
    )
    columns = ("first_dataset", "first", "first_split", "second_dataset", "second", "second_split", "detail")
    pairs = [("scenes-b", "12.png", "test", "scenes-b", f"{n:02}.png", "train", f"0.{n}") for n in (1, 2, 3)]
    write_csv(out / "dedup.pairs.csv", columns, pairs)
    return parameters()
