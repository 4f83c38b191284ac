"""A stand-in for pycocoevalcap's folder of METEOR: the same files, with a handful of words in them."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Iterable
from pathlib import Path

from rsitr.captions.meteor.tables import JAR, PARAPHRASES

LISTS = {
    "nonbreaking/english.prefixes": "# abbreviations\nMr\nNo #NUMERIC_ONLY#\n",
    "function/english.words": "the\na\nof\n",
    "synonym/english.synsets": "car\n0001 0002\nauto\n00002\ngoose\n0003\nlorry\n0004\nbox\n0005\ncrate\n0005\n",
    "synonym/english.exceptions": "goose\ngeese geesen\n",
}
ENTRIES = (
    ("river", "stream of water"),
    ("stream of water", "river"),
    ("river", "water"),
    ("stream", "river"),
    ("car", "motor car"),
    ("motor car", "car"),
    ("of", "from"),
)


def write_paraphrases(path: Path, entries: Iterable[tuple[str, str]]) -> Path:
    """A paraphrase table in the format of METEOR."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(f"0.5\n{phrase}\n{paraphrase}\n" for phrase, paraphrase in entries)
    return path


def write_package(folder: Path, entries: Iterable[tuple[str, str]] = ENTRIES) -> Path:
    """The jar and the table in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / JAR, "w") as jar:
        for name, text in LISTS.items():
            jar.writestr(name, text)
    write_paraphrases(folder / PARAPHRASES, entries)
    return folder
