"""What is wrong with the captions of a dataset, as data: one finding per caption and fault.

Nothing here changes a caption. The findings are for people: how far to trust a dataset, and where to look.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import pandas as pd

from rsitr.captions.misfits import ClassNames
from rsitr.captions.spelling import misspellings
from rsitr.captions.words import normal_form, words
from rsitr.datasets.karpathy import SPLITS

FEW_WORDS = 3
"""A caption with fewer words is short."""


class Caption(NamedTuple):
    """One caption with what the checks need to know about its image."""

    image_id: str
    split: str
    class_name: str
    number: int
    """Position among the captions of its image, from 0."""
    text: str
    words: list[str]
    form: str
    """Equal for identical captions."""


class Finding(NamedTuple):
    """A row of the audit; the fields are the columns of its csv file."""

    dataset: str
    kind: str
    """A key of ``KINDS``."""
    image_id: str
    split: str
    caption: int
    """Position among the captions of its image, from 0."""
    text: str
    detail: str


Faults = Iterable[tuple[Caption, str]]
"""Captions, each with what is wrong with it."""


def captions_of(frame: pd.DataFrame) -> list[Caption]:
    """Every caption of a canonical frame; an image without captions counts as one blank caption."""
    columns = (frame[name] for name in ("image_id", "split", "class_name", "captions"))
    return [
        Caption(image_id, split, class_name, number, text, words(text), normal_form(text))
        for image_id, split, class_name, texts in zip(*columns, strict=True)
        for number, text in enumerate(texts if len(texts) else [""])
    ]


def _blank(captions: list[Caption]) -> Faults:
    return ((caption, "no word in it" if caption.text else "empty") for caption in captions if not caption.form)


def _short(captions: list[Caption]) -> Faults:
    counts = ((caption, len(caption.words)) for caption in captions if caption.form)
    return ((caption, f"{count} words") for caption, count in counts if count < FEW_WORDS)


def _non_ascii(captions: list[Caption]) -> Faults:
    for caption in captions:
        strange = dict.fromkeys(character for character in caption.text if not character.isascii())
        if strange:
            yield caption, " ".join(f"{character} U+{ord(character):04X}" for character in strange)


def _repeated(captions: list[Caption]) -> Faults:
    first: dict[tuple[str, str], int] = {}
    for caption in captions:
        number = first.setdefault((caption.image_id, caption.form), caption.number)
        if caption.form and number != caption.number:
            yield caption, f"the same as caption {number}"


def _sharing(captions: list[Caption]) -> Iterator[tuple[Caption, Counter[str]]]:
    """Each caption that is not blank, and how many images of each split have it."""
    images: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for caption in captions:
        images[caption.form].add((caption.split, caption.image_id))
    counts = {form: Counter(split for split, _ in found) for form, found in images.items()}
    return ((caption, counts[caption.form]) for caption in captions if caption.form)


def _shared_in_split(captions: list[Caption]) -> Faults:
    for caption, images in _sharing(captions):
        if images[caption.split] > 1:
            yield caption, f"on {images[caption.split] - 1} other images of {caption.split}"


def _shared_across_splits(captions: list[Caption]) -> Faults:
    for caption, images in _sharing(captions):
        others = [f"{images[split]} of {split}" for split in SPLITS if split != caption.split and images[split]]
        if others:
            yield caption, f"on images: {', '.join(others)}"


def _spelling(captions: list[Caption]) -> Faults:
    suspected = misspellings(Counter(word for caption in captions for word in caption.words))
    for caption in captions:
        for word in dict.fromkeys(caption.words):
            if word in suspected:
                yield caption, f"{word}: " + (f"perhaps {suspected[word]}" if suspected[word] else "digits and letters")


def _class(captions: list[Caption]) -> Faults:
    names = ClassNames((caption.class_name, caption.words) for caption in captions)
    of_image = defaultdict(list)
    for caption in captions:
        of_image[caption.image_id].append(caption)
    for caption in captions:
        if other := names.misfit(caption.class_name, caption.words):
            agree = [other in names.named(sibling.words) for sibling in of_image[caption.image_id]]
            whose = f"{sum(agree)} of the image's {len(agree)} captions name {other}"
            yield caption, f"about {other}, class {caption.class_name}; {whose}"


KINDS: dict[str, tuple[str, Callable[[list[Caption]], Faults]]] = {
    "blank": ("no word in the caption", _blank),
    "short": (f"fewer than {FEW_WORDS} words", _short),
    "repeated": ("the same as an earlier caption of the image", _repeated),
    "shared-in-split": ("identical to a caption of another image of the split", _shared_in_split),
    "shared-across-splits": ("identical to a caption of an image of another split", _shared_across_splits),
    "spelling": ("a rare word, one letter away from a frequent one", _spelling),
    "class": ("about another class than that of the image", _class),
    "non-ascii": ("characters beyond ASCII", _non_ascii),
}
"""Every fault that is checked: its name, its meaning, and how it is found."""


def audit(frame: pd.DataFrame, dataset: str) -> list[Finding]:
    """All findings about the captions of a canonical frame, kind by kind, in the order of the frame.

    A caption has one finding for each of its faults, and one for each misspelt word.
    """
    captions = captions_of(frame)
    return [
        Finding(dataset, kind, found.image_id, found.split, found.number, found.text, detail)
        for kind, (_, check) in KINDS.items()
        for found, detail in check(captions)
    ]


class Summary(NamedTuple):
    """How often a fault occurs in a dataset."""

    kind: str
    meaning: str
    captions: dict[str, int]
    """By split: each caption counts once, however many faults of that kind it has."""
    images: int
    example: str
    """Of the first finding: image, text and detail; empty without any."""


def summarise(findings: Iterable[Finding]) -> list[Summary]:
    """One line for each kind, in the order of ``KINDS``, even where nothing was found."""
    by_kind: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_kind[finding.kind].append(finding)
    lines = []
    for kind, (meaning, _) in KINDS.items():
        found = by_kind[kind]
        captions = {(each.dataset, each.image_id, each.caption, each.split) for each in found}
        by_split = Counter(split for *_, split in captions)
        images = {(each.dataset, each.image_id) for each in found}
        example = f"{found[0].image_id}: {found[0].text!r} ({found[0].detail})" if found else ""
        lines.append(Summary(kind, meaning, {split: by_split[split] for split in SPLITS}, len(images), example))
    return lines
