"""Near duplicates: what rsitr finds and how fast, next to imagehash and imagededup, and at the size of RS5M.

Needs AID and RSICD as canonical tables (``snakemake --cores 2 data/canonical/aid/dataset.parquet ...``); the CNN of
imagededup also needs a mirror, for its weights. Every finder starts from the same files, has two cores and runs in a
process of its own.

    python benchmarks/dedup.py aid-rsicd     AID against RSICD; true are the 10,000 pairs of the same file name
    python benchmarks/dedup.py planted       2,000 images of RSICD against themselves, transformed in many ways
    python benchmarks/dedup.py scale         5,000,000 fingerprints against 20,000 images, and against themselves
"""

from __future__ import annotations

import argparse
import csv
import io
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image, ImageEnhance

from dedup_peers import Pairs, Peer, peers
from recall import resident_mib
from rsitr.datasets.base import mirror_dir
from rsitr.datasets.table import read_table
from rsitr.dedup.candidates import NEIGHBOURS, Index
from rsitr.dedup.fingerprints import DIMENSIONS, ORIENTATIONS, WINDOWS, fingerprints, oriented
from rsitr.dedup.near_duplicates import find_near_duplicates
from rsitr.dedup.thumbnails import Thumbnails, look
from rsitr.records.paths import Paths
from table import Row, add_cases, machine, print_rows, write_rows

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "dedup.csv"
JUDGED = Path(__file__).with_name("judged.csv")
"""Pairs inside AID, RSICD and UCM, and of other names between AID and RSICD, and what a person saw in them."""
THREADS = 2
PLANTED = 2_000
SCALE, TESTS, COPIES = 5_000_000, 20_000, 1_000
NOISE = 0.2
"""Length of what is added to a fingerprint of length 1: for a copy of it, a cosine of .98, the mean of AID x RSICD."""

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def thumbnails(paths: list[Path]) -> Thumbnails:
    """Thumbnails of files; their names are their places in the list."""
    with ThreadPoolExecutor(THREADS) as pool:
        seen = list(pool.map(look, paths))
    names = np.array([f"{place:06}" for place in range(len(paths))])
    pixels, problems = np.stack([pixels for pixels, _ in seen]), np.array([problem for _, problem in seen])
    return Thumbnails("files", "", names, names, pixels, problems)


def ours(first: list[Path], second: list[Path]) -> Pairs:
    """The copies that rsitr finds between two lists of files."""
    torch.set_num_threads(THREADS)
    found = find_near_duplicates(thumbnails(first), thumbnails(second))
    return set(zip(found["first"].astype(int).tolist(), found["second"].astype(int).tolist(), strict=True))


def files(dataset: str) -> dict[str, Path]:
    """Image files of a dataset by image id."""
    table, facts = read_table(Paths.dataset(dataset))
    ids, paths = (table[name].to_pylist() for name in ("image_id", "path"))
    return {image_id: Path(facts.root, path) for image_id, path in zip(ids, paths, strict=True)}


def run(peer: Peer, first: list[Path], second: list[Path]) -> tuple[Pairs, float, float]:
    """Pairs, seconds and peak MiB of a finder in a fresh process; what imagededup's workers need is not counted."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_run, peer, first, second).result()


def _run(peer: Peer, first: list[Path], second: list[Path]) -> tuple[Pairs, float, float]:
    torch.set_num_threads(THREADS)
    started = time.perf_counter()
    pairs = peer.find(first, second)
    return pairs, time.perf_counter() - started, resident_mib("VmHWM")


def next_to(case: str, ours: dict[str, float], peer: str, theirs: dict[str, float]) -> Iterator[Row]:
    """Rows of one case for one peer; metrics that begin with ``time`` or ``memory`` are costs."""
    for metric, value in ours.items():
        unit = {"time": "s", "memory": "MiB"}.get(metric.split()[0], "%")
        yield Row(case, metric, unit, value, peer, theirs[metric], machine(), unit == "%")


def scored(found: Pairs, true: Pairs, ignored: Pairs) -> dict[str, float]:
    """Recall and precision in percent; pairs in ``ignored`` are neither right nor wrong. Nothing found: precise."""
    counted = found - ignored
    right = len(counted & true)
    return {"recall": 100 * right / len(true), "precision": 100 * right / len(counted) if counted else 100.0}


def aid_rsicd(finders: list[Peer]) -> list[Row]:
    """All of AID against all of RSICD.

    Truth is the file name. But both sets hold some places more than once, so pairs of other names can be right: in a
    second precision, those that a person found to show one place, by looking at them, are neither right nor wrong.
    """
    aid, rsicd = files("aid"), files("rsicd")
    row, column = ({name: place for place, name in enumerate(names)} for names in (aid, rsicd))
    true = {(row[name], column[name]) for name in aid if name in column}
    with JUDGED.open(newline="", encoding="utf-8") as file:
        judged = [line for line in csv.DictReader(file) if line["first_dataset"] != line["second_dataset"]]
    one_place = {(row[line["first"]], column[line["second"]]) for line in judged if line["shows"] != "different"}
    results = {}
    for finder in finders:
        pairs, seconds, memory = run(finder, list(aid.values()), list(rsicd.values()))
        print(f"{finder.name}: {len(pairs)} pairs, {len(pairs & true)} of one name, {seconds:.0f} s", flush=True)
        other_names = scored(pairs, true, one_place)
        results[finder.name] = {
            **scored(pairs, true, set()),
            "precision, other names judged": other_names["precision"],
            "time": seconds,
            "memory": memory,
        }
    mine = results.pop(finders[0].name)
    return [row for name, theirs in results.items() for row in next_to("aid-rsicd", mine, name, theirs)]


def _jpeg(quality: int) -> Change:
    def change(image: Image.Image, _: np.random.Generator) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer).convert("RGB")

    return change


def _crop(share: float, centred: bool) -> Change:
    def change(image: Image.Image, draw: np.random.Generator) -> Image.Image:
        width, height = (round(side * share) for side in image.size)
        room = image.width - width, image.height - height
        left, top = (side // 2 if centred else int(draw.integers(side + 1)) for side in room)
        return image.crop((left, top, left + width, top + height))

    return change


def _scaled(share: float) -> Change:
    return lambda image, _: image.resize([round(side * share) for side in image.size], Image.Resampling.BICUBIC)


def _moved(transposition: Image.Transpose) -> Change:
    return lambda image, _: image.transpose(transposition)


def _enhanced(kind: type, factor: float) -> Change:
    return lambda image, _: kind(image).enhance(factor)


def _tinted(image: Image.Image, _: np.random.Generator) -> Image.Image:
    return Image.fromarray(np.clip(np.asarray(image) * np.array([1.1, 1.0, 0.9]), 0, 255).astype(np.uint8))


def _all_at_once(image: Image.Image, draw: np.random.Generator) -> Image.Image:
    image = _crop(0.8, centred=False)(image, draw).transpose(Image.Transpose.ROTATE_90)
    return _jpeg(50)(ImageEnhance.Brightness(image).enhance(1.15), draw)


CHANGES: dict[str, Change] = {
    "none": lambda image, _: image,
    "jpeg-50": _jpeg(50),
    "jpeg-20": _jpeg(20),
    "half-size": _scaled(0.5),
    "double-size": _scaled(2.0),
    "centre-crop-7/8": _crop(7 / 8, centred=True),
    "centre-crop-3/4": _crop(3 / 4, centred=True),
    "crop-7/8": _crop(7 / 8, centred=False),
    "crop-3/4": _crop(3 / 4, centred=False),
    "mirrored": _moved(Image.Transpose.FLIP_LEFT_RIGHT),
    "flipped": _moved(Image.Transpose.FLIP_TOP_BOTTOM),
    "turned-90": _moved(Image.Transpose.ROTATE_90),
    "turned-180": _moved(Image.Transpose.ROTATE_180),
    "transposed": _moved(Image.Transpose.TRANSPOSE),
    "brighter-20%": _enhanced(ImageEnhance.Brightness, 1.2),
    "darker-20%": _enhanced(ImageEnhance.Brightness, 0.8),
    "contrast-20%": _enhanced(ImageEnhance.Contrast, 1.2),
    "less-colour-30%": _enhanced(ImageEnhance.Color, 0.7),
    "tinted-10%": _tinted,
    "crop-0.8+turn+brighter+jpeg": _all_at_once,
}


def originals() -> list[Path]:
    """Images of RSICD without any known near duplicate in it, so that every pair of two different ones is wrong."""
    paths = files("rsicd")
    names = np.random.default_rng(0).permutation(sorted(paths))[: PLANTED + 200]
    chosen = [paths[name] for name in names]
    twins = find_near_duplicates(thumbnails(chosen))
    left_out = set(twins["first"].astype(int)) | set(twins["second"].astype(int))
    return [path for place, path in enumerate(chosen) if place not in left_out][:PLANTED]


def planted(finders: list[Peer]) -> list[Row]:
    """Originals against their transformed copies; each transformation is written when it is done, for it takes long."""
    torch.set_num_threads(THREADS)
    chosen, rows = originals(), []
    for name, change in CHANGES.items():
        with TemporaryDirectory() as folder:
            changed = []
            for place, path in enumerate(chosen):
                with Image.open(path) as image:
                    made = change(image.convert("RGB"), np.random.default_rng(place))
                changed.append(Path(folder, f"{place}.jpg"))
                made.save(changed[-1], quality=90)
            results = dict(_scored_sample(finder, chosen, changed) for finder in finders)
        mine = results.pop(finders[0].name)
        new = [row for peer, theirs in results.items() for row in next_to(f"planted-{name}", mine, peer, theirs)]
        print_rows(f"Planted: {name}", new)
        write_rows(RESULT, new)
        rows += new
    return rows


def _scored_sample(finder: Peer, chosen: list[Path], changed: list[Path]) -> tuple[str, dict[str, float]]:
    name = f"{finder.name}, {finder.sample} images" if finder.sample else finder.name
    first, second = chosen[: finder.sample], changed[: finder.sample]
    true = {(place, place) for place in range(len(first))}
    return name, scored(run(finder, first, second)[0], true, set())


def simulated(real: np.ndarray, size: int, draw: np.random.Generator) -> np.ndarray:
    """Fingerprints [size, 54] with the distribution of real ones: two of them mixed, in a random orientation.

    Neither has so large a share that the mixture would be its copy.
    """
    vectors = np.empty((size, DIMENSIONS), dtype=np.float32)
    for start in range(0, size, 100_000):
        rows = min(100_000, size - start)
        one, other = real[draw.integers(len(real), size=(2, rows))]
        share = draw.uniform(0.5, 0.65, size=(rows, 1)).astype(np.float32)
        mixed = oriented(share * one + (1 - share) * other, draw.integers(len(ORIENTATIONS), size=rows))
        vectors[start : start + rows] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return vectors


def noisy(vectors: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Copies of fingerprints as another encoding of the image would have them, in random orientations."""
    noise = draw.standard_normal(vectors.shape, dtype=np.float32)
    vectors = vectors + NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    vectors = oriented(vectors, draw.integers(len(ORIENTATIONS), size=len(vectors)))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def scale() -> list[Row]:
    """In a fresh process: as many fingerprints as RS5M has images, against 20,000 images, then against themselves."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_scale).result()


def _scale() -> list[Row]:
    draw = np.random.default_rng(0)
    real = [thumbnails(list(files(name).values())) for name in ("aid", "rsicd")]
    windows = np.concatenate([fingerprints(part.pixels, WINDOWS) for part in real])[:TESTS]
    million = simulated(windows.reshape(-1, DIMENSIONS), SCALE, draw)
    # What has to be found again: copies of test images, and copies of some of the five million.
    place = draw.choice(SCALE, size=(2, COPIES), replace=False)
    tests = draw.choice(TESTS, size=COPIES, replace=False)
    million[place[0]] = noisy(windows[tests, 0], draw)
    twins = draw.choice(SCALE, size=COPIES, replace=False)
    million[place[1]] = noisy(million[twins], draw)

    started = time.perf_counter()
    index = Index.of([million], len(million))
    built = time.perf_counter() - started
    print(f"index of {SCALE} built in {built:.0f} s", flush=True)
    found = _found(index, windows.reshape(-1, DIMENSIONS), NEIGHBOURS, len(WINDOWS), tests)
    seconds = time.perf_counter() - started
    hit = 100 * float(np.mean([pair in found for pair in zip(tests.tolist(), place[0].tolist(), strict=True)]))
    rows = _scale_rows("scale-5m-query", seconds, hit)
    print_rows("Scale", rows)
    write_rows(RESULT, rows)

    started = time.perf_counter()
    found = _found(index, million, NEIGHBOURS + 1, 1, np.concatenate([twins, place[1]]))
    seconds = built + time.perf_counter() - started
    pairs = zip(twins.tolist(), place[1].tolist(), strict=True)
    hit = 100 * float(np.mean([(one, other) in found or (other, one) in found for one, other in pairs]))
    return rows + _scale_rows("scale-5m-self", seconds, hit)


def _found(index: Index, vectors: np.ndarray, neighbours: int, windows: int, wanted: np.ndarray) -> Pairs:
    """Search for all vectors; (image, entry) of the hits of the ``wanted`` images."""
    pairs: Pairs = set()
    block = 4096 * windows
    for start in range(0, len(vectors), block):
        hits = index.search(vectors[start : start + block], neighbours)
        image = (hits.query + start) // windows
        asked = np.isin(image, wanted)
        pairs.update(zip(image[asked].tolist(), hits.entry[asked].tolist(), strict=True))
    return pairs


def _scale_rows(case: str, seconds: float, recall: float) -> list[Row]:
    """Ours alone: all pairs of 64-bit hashes would be 10^11 and 10^13 comparisons for the peers."""
    return [
        Row(case, "time, index included", "s", seconds, "", None, machine()),
        Row(case, "recall of planted copies", "%", recall, "", None, machine(), True),
        Row(case, "peak memory", "MiB", resident_mib("VmHWM"), "", None, machine()),
    ]


CASES = ("aid-rsicd", "planted", "scale")


def main() -> None:
    """Measure, print, and write ``results/benchmarks/dedup.csv``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_cases(parser, CASES)
    wanted = parser.parse_args().cases or CASES
    finders = [Peer("rsitr", ours), *peers(mirror_dir())]
    measure = {"aid-rsicd": lambda: aid_rsicd(finders), "planted": lambda: planted(finders), "scale": scale}
    for case in wanted:
        rows = measure[case]()
        print_rows(f"Near duplicates: {case}", rows)
        write_rows(RESULT, rows)


if __name__ == "__main__":
    main()
