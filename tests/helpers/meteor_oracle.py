"""METEOR's alignment and score once more, as slowly and as plainly as it can be said: the oracle of the tests.

It follows the published description and the behaviour of the jar, one path object at a time; nothing in it is shared
with the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from snowballstemmer import stemmer

from rsitr.captions.meteor.tables import Tables

WEIGHTS = (1.0, 0.6, 0.8, 0.6)
STEM = stemmer("english").stemWord


@dataclass(frozen=True)
class Match:
    """``length`` words of the reference from ``start`` on, ``own_length`` of the caption from ``own`` on."""

    start: int
    length: int
    own: int
    own_length: int
    module: int

    def words(self) -> set[tuple[str, int]]:
        own = {("caption", self.own + step) for step in range(self.own_length)}
        return own | {("reference", self.start + step) for step in range(self.length)}


@dataclass
class Path:
    taken: set[tuple[str, int]] = field(default_factory=set)
    matches: list[Match] = field(default_factory=list)
    gain: int = 0
    chunks: int = 0
    distance: int = 0
    next: int = 0
    end: int | None = None

    def rank(self) -> tuple[int, int, int]:
        return -self.gain, self.chunks, self.distance

    def with_match(self, match: Match) -> Path:
        gain = match.length + match.own_length if match.module == 0 else match.length // 2 + match.own_length // 2
        return Path(
            taken=self.taken | match.words(),
            matches=[*self.matches, match],
            gain=self.gain + gain,
            chunks=self.chunks + (self.end is not None and self.end != match.own),
            distance=self.distance,
            next=match.start + match.length,
            end=match.own + match.own_length,
        )


def meteor(caption: str, reference: str, tables: Tables, entries: list[tuple[str, str]]) -> float:
    words, others = tables.normalizer.words(caption), tables.normalizer.words(reference)
    proposals = propose(words, others, tables, entries)
    return score(search(proposals, len(others)), words, others, tables)


def propose(words: list[str], others: list[str], tables: Tables, entries: list[tuple[str, str]]) -> list[list[Match]]:
    """Matches by the word of the reference where they start, in METEOR's order."""
    found: list[list[Match]] = [[] for _ in others]
    tests = [
        lambda one, two: one == two,
        lambda one, two: one != two and STEM(one) == STEM(two),
        lambda one, two: one != two and bool(tables.meanings(one) & tables.meanings(two)),
    ]
    for module, related in enumerate(tests[:1] if words == others else tests):
        for start, other in enumerate(others):
            found[start] += [Match(start, 1, own, 1, module) for own, word in enumerate(words) if related(word, other)]
    if words != others:
        for start, length, own, own_length in paraphrases(others, words, entries):
            found[start].append(Match(start, length, own, own_length, 3))
        for own, own_length, start, length in paraphrases(words, others, entries):
            found[start].append(Match(start, length, own, own_length, 3))
    return found


def paraphrases(words: list[str], others: list[str], entries: list[tuple[str, str]]) -> list[tuple[int, int, int, int]]:
    """Place and length of a phrase among ``words``, and of its paraphrase among ``others``."""
    split = [(phrase.split(), paraphrase.split()) for phrase, paraphrase in entries]
    return [
        (start, length, other, len(paraphrase))
        for start in range(len(words))
        for length in range(1, len(words) - start + 1)
        for phrase, paraphrase in split
        if phrase == words[start : start + length]
        for other in range(len(others))
        if others[other : other + len(paraphrase)] == paraphrase
    ]


def search(proposals: list[list[Match]], size: int) -> Path:
    """The best path of a beam of 40."""
    everything = [match for row in proposals for match in row]
    fixed = {
        match.start: match
        for match in everything
        if not any(match.words() & other.words() for other in everything if other is not match)
    }
    paths = [Path()]
    for word in range(size):
        paths = sorted(paths, key=Path.rank)[:40]
        following = []
        for path in paths:
            if path.next > word:
                following.append(path)
            elif word in fixed:
                following.append(path.with_match(fixed[word]))
            else:
                for match in proposals[word]:
                    if not match.words() & path.taken:
                        following.append(path.with_match(match))
                        path.distance += abs(match.start - match.own)
                path.chunks += path.end is not None
                path.next, path.end = word + 1, None
                following.append(path)
        paths = following
    paths = sorted(paths, key=Path.rank)[:40]
    for path in paths:
        path.chunks += path.end is not None
    return min(paths, key=Path.rank)


def score(path: Path, words: list[str], others: list[str], tables: Tables) -> float:
    def weight(word: str) -> float:
        return 0.25 if word in tables.function_words else 0.75

    matched = sum(match.own_length for match in path.matches)
    other_matched = sum(match.length for match in path.matches)
    if not matched:
        return 0.0
    precision = recall = 0.0
    for match in path.matches:
        of_module = WEIGHTS[match.module]
        precision += of_module * sum(map(weight, words[match.own : match.own + match.own_length]))
        recall += of_module * sum(map(weight, others[match.start : match.start + match.length]))
    precision, recall = precision / sum(map(weight, words)), recall / sum(map(weight, others))
    mean = precision * recall / (0.15 * recall + 0.85 * precision)
    if (matched, other_matched, path.chunks) == (len(words), len(others), 1):
        return mean
    return mean * (1 - 0.6 * (2 * path.chunks / (matched + other_matched)) ** 0.2)
