"""Similarity of captions: rsitr's BLEU and METEOR next to pycocoevalcap's and nltk's, in agreement and in speed.

Needs a mirror, for its caption files. Every peer scores a sample of the pairs, one by one, as it can.

    python benchmarks/similarity.py bleu-exact          100,000 pairs of RSICD's training set
    python benchmarks/similarity.py meteor-exact        20,000 pairs of four datasets, against the program in Java
    python benchmarks/similarity.py rsicd-train-matrix  8,734 images x all distinct captions: BLEU-1 to 4 and METEOR
    python benchmarks/similarity.py batch-128           the pairs of a training batch
    python benchmarks/similarity.py scaling             1,000 to 40,000 captions and their images
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bleu_peers import nltk_bleu, pycocoevalcap_bleu
from meteor_peer import java_meteor
from recall import resident_mib
from rsitr.captions.bleu import METHODS, Bleu
from rsitr.captions.meteor import Meteor
from rsitr.captions.similarity import BLOCK, CaptionSet
from rsitr.captions.words import words
from rsitr.datasets.base import mirror_dir
from table import Row, add_cases, machine, print_rows, write_rows

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "similarity.csv"
FILES = {
    "rsicd": "rsicd/dataset_rsicd.json",
    "rsitmd": "rsitmd/dataset_rsitmd.json",
    "ucm": "ucm/dataset.json",
    "sydney": "sydney/dataset.json",
}
THREADS = 2
BLEU_PAIRS, METEOR_PAIRS, PEER_PAIRS = 100_000, 20_000, 5_000
SIZES = (1_000, 5_000, 10_000, 20_000, 40_000)
COCO = f"pycocoevalcap {version('pycocoevalcap')}"
Pair = tuple[str, list[str]]
"""A caption, and the captions of an image."""


class Sample(NamedTuple):
    """Pairs drawn from a set: caption ``text[k]`` against image ``image[k]``."""

    captions: CaptionSet
    text: np.ndarray
    image: np.ndarray

    def pairs(self, count: int) -> list[Pair]:
        """The first ``count`` of them as a peer wants them."""
        texts, references = self.captions.texts, self.captions.references
        chosen = zip(self.text[:count].tolist(), self.image[:count].tolist(), strict=True)
        return [(texts[text], [texts[place] for place in references[image]]) for text, image in chosen]

    def scored(self, scores: Callable[[np.ndarray, np.ndarray], np.ndarray], count: int) -> np.ndarray:
        """Ours for the first ``count`` pairs."""
        return np.concatenate([scores(self.text[k : k + 1], self.image[k : k + 1])[0] for k in range(count)])


def captions(name: str, split: str = "") -> tuple[CaptionSet, list[str]]:
    """Captions of a dataset of the mirror, blank ones left out, and the class of each image."""
    folder = mirror_dir()
    if folder is None:
        raise SystemExit("RSITR_MIRROR must name a mirror, for its caption files")
    images = json.loads((folder / FILES[name]).read_text(encoding="utf-8"))["images"]
    kept = [image for image in images if split in ("", image["split"])]
    texts = [[sentence["raw"] for sentence in image["sentences"] if sentence["raw"].strip()] for image in kept]
    image_of = np.repeat(np.arange(len(texts)), [len(sentences) for sentences in texts])
    classes = [image["filename"].rstrip("0123456789_.tifjpg") for image in kept]
    return CaptionSet.of([text for sentences in texts for text in sentences], image_of), classes


def drawn(name: str, count: int, split: str = "") -> Sample:
    """Random pairs, every second one within a class, so that they share words."""
    found, classes = captions(name, split)
    draw = np.random.default_rng(0)
    image = draw.integers(len(found.references), size=count)
    text = draw.integers(len(found.texts), size=count)
    by_class: dict[str, list[int]] = {}
    for place, label in enumerate(classes):
        by_class.setdefault(label, []).append(place)
    for k in range(0, count, 2):
        other = draw.choice(by_class[classes[image[k]]])
        text[k] = draw.choice(found.references[other])
    return Sample(found, text, image)


def bleu_exact() -> list[Row]:
    """The largest difference of any order to pycocoevalcap, and to nltk for each of its smoothing methods."""
    sample, rows = drawn("rsicd", BLEU_PAIRS, "train"), []
    pairs = [(plain(text), [plain(other) for other in references]) for text, references in sample.pairs(BLEU_PAIRS)]
    for definition in METHODS:
        ours = sample.scored(Bleu(sample.captions.texts, sample.captions.references, definition).scores, BLEU_PAIRS)
        if definition == "pycocoevalcap":
            peer, theirs = COCO, pycocoevalcap_bleu(pairs)
        else:
            peer, theirs = f"nltk {version('nltk')} {definition}", nltk_bleu(pairs, int(definition[-1]))
        # Where nltk raises an error, there is nothing to agree with.
        difference = float(np.nanmax(np.abs(ours - theirs)))
        print(f"{definition}: {difference:.2g}, {int(np.isnan(theirs[:, 0]).sum())} pairs undefined", flush=True)
        rows.append(
            Row(
                "bleu-exact",
                f"largest difference, {definition}, {BLEU_PAIRS:,} pairs",
                "",
                difference,
                peer,
                None,
                machine(),
            )
        )
    return rows


def plain(text: str) -> str:
    """The words of a caption, one space apart, as the peers of BLEU want them."""
    return " ".join(words(text))


def meteor_exact() -> list[Row]:
    """The share of pairs on which the program in Java agrees within 1e-6, by dataset."""
    equal, largest = [], 0.0
    for name in FILES:
        sample = drawn(name, METEOR_PAIRS // len(FILES))
        count = len(sample.text)
        ours = sample.scored(Meteor(sample.captions.texts, sample.captions.references).scores, count)
        difference = np.abs(ours - java_meteor(sample.pairs(count)))
        largest = max(largest, float(difference.max()))
        equal.append(difference <= 1e-6)
        for k in np.flatnonzero(difference > 1e-6).tolist():
            print(f"{name}: {difference[k]:.6f} {sample.pairs(k + 1)[k]}", flush=True)
    share, peer = 100 * float(np.mean(np.concatenate(equal))), f"meteor 1.5 (Java) of {COCO}"
    return [
        Row("meteor-exact", f"equal within 1e-6, {METEOR_PAIRS:,} pairs", "%", share, peer, None, machine(), True),
        Row("meteor-exact", "largest difference", "", largest, peer, None, machine()),
    ]


def matrix(name: str, captions: CaptionSet) -> float:
    """Seconds for all captions against all images, preparation included; the scores are given away block by block."""
    started = time.perf_counter()
    scorer = {"bleu": Bleu, "meteor": Meteor}[name](captions.texts, captions.references, threads=THREADS)
    everything, images = np.arange(len(captions.texts)), np.arange(len(captions.references))
    for start in range(0, len(images), BLOCK):
        scorer.scores(everything, images[start : start + BLOCK])
    return time.perf_counter() - started


def rsicd_train_matrix() -> list[Row]:
    """RSICD's training set: every caption against every image, and what the peers do of it in a second."""
    found, _ = captions("rsicd", "train")
    pairs = len(found.place) * len(found.references)
    seconds = {name: matrix(name, found) for name in ("bleu", "meteor")}
    memory, sample = resident_mib("VmHWM"), drawn("rsicd", PEER_PAIRS, "train").pairs(PEER_PAIRS)
    plain_sample = [(plain(text), [plain(other) for other in references]) for text, references in sample]
    rate = {"bleu": timed(pycocoevalcap_bleu, plain_sample), "meteor": timed(java_meteor, sample)}
    case, here = "rsicd-train-matrix", machine()
    rows = [Row(case, "time, BLEU-1 to 4 and METEOR", "s", sum(seconds.values()), "", None, here)]
    for name, value in seconds.items():
        rows.append(Row(case, f"time, {name}", "s", value, COCO, pairs / rate[name], here))
        rows.append(Row(case, f"pairs a second, {name}", "1/s", pairs / value, COCO, rate[name], here, True))
    theirs = pairs / sum(pairs / one for one in rate.values())
    rows.append(Row(case, "pairs a second, both", "1/s", pairs / sum(seconds.values()), COCO, theirs, here, True))
    return [*rows, Row(case, "peak memory", "MiB", memory, "", None, here)]


def timed(score: Callable[[list[Pair]], np.ndarray], pairs: list[Pair]) -> float:
    """Pairs a second of a peer that is running: what a tenth of the pairs takes is its start and left out."""
    some = len(pairs) // 10
    moments = [time.perf_counter()]
    for part in (pairs[:some], pairs):
        score(part)
        moments.append(time.perf_counter())
    return (len(pairs) - some) / (moments[2] - 2 * moments[1] + moments[0])


def batch_128() -> list[Row]:
    """128 captions against 128 images of RSICD's training set, after preparation: the median of 20 batches."""
    found, _ = captions("rsicd", "train")
    scorers: list[Bleu | Meteor] = [Bleu(found.texts, found.references), Meteor(found.texts, found.references)]
    draw, seconds = np.random.default_rng(0), []
    for _ in range(21):
        texts, images = draw.integers(len(found.texts), size=128), draw.integers(len(found.references), size=128)
        started = time.perf_counter()
        for scorer in scorers:
            scorer.scores(texts, images)
        seconds.append(time.perf_counter() - started)
    value = 1000 * float(np.median(seconds[1:]))
    return [Row("batch-128", "time, BLEU-1 to 4 and METEOR, one thread", "ms", value, "", None, machine())]


def scaling() -> list[Row]:
    """The first so many captions of RSICD and the images they describe."""
    found, _ = captions("rsicd")
    image_of = np.repeat(np.arange(len(found.references)), [len(own) for own in found.references])
    rows = []
    for size in SIZES:
        texts = [found.texts[place] for place in found.place[:size]]
        part = CaptionSet.of(texts, image_of[:size])
        for name in ("bleu", "meteor"):
            value = matrix(name, part)
            pairs = size * len(part.references)
            rows.append(Row(f"scaling-{size}", f"time, {name}", "s", value, "", None, machine()))
            rows.append(
                Row(f"scaling-{size}", f"pairs a second, {name}", "1/s", pairs / value, "", None, machine(), True)
            )
    return rows


CASES = {
    "bleu-exact": bleu_exact,
    "meteor-exact": meteor_exact,
    "rsicd-train-matrix": rsicd_train_matrix,
    "batch-128": batch_128,
    "scaling": scaling,
}


def main() -> None:
    """Measure, print, and write ``results/benchmarks/similarity.csv``; every case in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_cases(parser, CASES)
    for case in parser.parse_args().cases or CASES:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            rows = pool.submit(CASES[case]).result()
        print_rows(f"Similarity of captions: {case}", rows)
        write_rows(RESULT, rows)


if __name__ == "__main__":
    main()
