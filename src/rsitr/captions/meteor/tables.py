"""The English tables of METEOR 1.5, read from the installed pycocoevalcap: this package includes none of them.

The jar holds the word lists and WordNet 3.0, the file next to it the paraphrases. Java is not needed to read them.
"""

from __future__ import annotations

import importlib.util
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rsitr.captions.meteor.normalizer import Normalizer
from rsitr.captions.meteor.paraphrases import REPAIR, Paraphrases, load_paraphrases
from rsitr.errors import CorruptArchive, SourceUnavailable

CACHE = Path("cache") / "meteor"
"""Below the working folder, like every cache."""
JAR = "meteor-1.5.jar"
PARAPHRASES = Path("data") / "paraphrase-en.gz"
_LISTS = (
    *("nonbreaking/english.prefixes", "function/english.words"),
    *("synonym/english.synsets", "synonym/english.exceptions"),
)
_NUMERIC_ONLY = "#NUMERIC_ONLY#"
# fmt: off
_ENDINGS = (
    *(("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"),
      ("men", "man"), ("ies", "y")),
    *(("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    *(("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
)
# fmt: on
"""WordNet's rules of detachment (morphy, WordNet 3.0) for nouns, verbs and adjectives, in the order METEOR tries."""


@dataclass(frozen=True)
class Tables:
    """All that METEOR knows about English, apart from the stemmer."""

    normalizer: Normalizer
    function_words: frozenset[str]
    synsets: Mapping[str, str]
    """Word -> numbers of its synsets, separated by spaces."""
    bases: Mapping[str, list[str]]
    """Irregular form -> its base forms."""
    paraphrases: Paraphrases

    def meanings(self, word: str) -> frozenset[int]:
        """Synsets of a word and of its base forms; two words with one in common are synonyms."""
        words = (word, *self.bases.get(word, (self._base(word),)))
        return frozenset(int(number) for each in words for number in self.synsets.get(each, "").split())

    def _base(self, word: str) -> str:
        """The first known word that a regular ending leads to, or an empty string."""
        if len(word) <= 2 or word.endswith("ss"):
            return word
        candidates = (word.removesuffix(end) + new for end, new in _ENDINGS if word.endswith(end))
        return next((candidate for candidate in candidates if candidate in self.synsets), "")


def load_tables(folder: Path = CACHE, package: Path | None = None) -> Tables:
    """Read the tables; the paraphrases through a compact form in ``folder``, built once in about half a minute.

    ``package`` is the folder with the jar, by default the one of the installed pycocoevalcap. Raises
    ``SourceUnavailable`` if one of the two files is missing and ``CorruptArchive`` if it cannot be read.
    """
    package = package or _installed()
    for path in (package / JAR, package / PARAPHRASES):
        if not path.is_file():
            raise SourceUnavailable(f"METEOR's tables are missing, there is no {path}: {REPAIR}")
    try:
        with zipfile.ZipFile(package / JAR) as jar:
            prefixes, functions, synsets, exceptions = (jar.read(name).decode().split("\n") for name in _LISTS)
    except (OSError, KeyError, zipfile.BadZipFile, zlib.error, UnicodeDecodeError) as error:
        raise CorruptArchive(f"METEOR's tables {package / JAR} cannot be read ({error}): {REPAIR}") from None
    return Tables(
        normalizer=Normalizer(_prefixes(prefixes)),
        function_words=frozenset(functions) - {""},
        synsets=dict(zip(synsets[::2], synsets[1::2], strict=False)),
        bases=_bases(exceptions),
        paraphrases=load_paraphrases(package / PARAPHRASES, folder),
    )


def _installed() -> Path:
    spec = importlib.util.find_spec("pycocoevalcap")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise SourceUnavailable(
            "METEOR's tables come with pycocoevalcap, which is not installed: pip install 'rsitr[captions]'"
        )
    return Path(folders[0]) / "meteor"


def _prefixes(lines: list[str]) -> dict[str, bool]:
    entries = (line.split() for line in lines if line.split() and not line.lstrip().startswith("#"))
    return {entry[0]: entry[1:2] == [_NUMERIC_ONLY] for entry in entries}


def _bases(lines: list[str]) -> dict[str, list[str]]:
    """From alternating lines: a word, then its irregular forms."""
    bases = defaultdict(list)
    for base, forms in zip(lines[::2], lines[1::2], strict=False):
        for form in forms.split():
            bases[form].append(base)
    return dict(bases)
