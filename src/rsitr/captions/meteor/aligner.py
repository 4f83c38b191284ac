"""METEOR of many pairs of texts: the compiled part, from numbered words and their matches to scores.

Two texts are aligned in two steps (M. Denkowski and A. Lavie, 'Meteor Universal', WMT 2014, section 2). Matches that
compete with no others are fixed. The rest are chosen by a beam search over the words of the reference, which prefers
more matched words, then fewer chunks, then a smaller distance. That it may miss the best alignment is part of the
measure, and so are three quirks of the program that defines it:

- A single word that does not match exactly counts for half a word, rounded down to nothing.
- The distance of a match is charged to whatever is tried after it at the same word, not to the match.
- Equal matches proposed by several stages each take a place in the beam.

All compiled functions are in this file: numba caches them on disk until the file of a function itself changes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from rsitr.captions.all_pairs import FloatArray, IntArray, Lists
from rsitr.captions.meteor.corpus import Corpus

BEAM = 40
ALPHA, BETA, GAMMA = 0.85, 0.2, 0.6
"""For English; delta is in the weights below."""
EXACT, STEM, SYNONYM, PARAPHRASE, PARAPHRASE_BACKWARDS = range(5)
"""Stages, in the order in which they propose matches; the last reads a paraphrase from the caption to the reference."""
CONTENT_WEIGHTS = np.array([15, 9, 12, 9, 9])
"""Of a content word by stage, in twentieths: 1, .6, .8 and .6, times delta = .75."""
FUNCTION_WEIGHTS = np.array([5, 3, 4, 3, 3])
"""Of a function word, times 1 - delta."""
MAX_WORDS = 4000
"""Of a text, so that all counts fit the bits they get below."""

# How good a path is, as one number where less is better: matched words, then chunks, then distance.
MATCHED, CHUNK = 1 << 50, 1 << 38
CHUNK_SHIFT, CHUNK_MASK = 38, (1 << 12) - 1

# Four sums over matches as one number, 16 bits each: weight and number of the words of the caption and the reference.
CAPTION_WEIGHT, REFERENCE_WEIGHT, CAPTION_WORDS, REFERENCE_WORDS = 0, 16, 32, 48
SUM_MASK = (1 << 16) - 1

# Columns of a proposal: first word and number of words in the caption, number of words in the reference, what it adds
# to the number of a path and to the sums, and the sort key of proposals to one word.
PLACE, LENGTH, SPAN, GAIN, SUMS, ORDER = range(6)
COLUMNS = 6
# The order: stage, then the nesting of the loops of the defining program, with 12 bits for a place in the caption.
STAGE_SHIFT, BACKWARDS_PLACE_SHIFT = 58, 46

# Columns of a run, the rows of proposals to one word of a reference, and kinds of words.
FIRST, LAST, KIND = range(3)
NOTHING, FIXED, CHOICE = range(3)

# Columns of the beam, and of a path: the next word of the reference, the word of the caption after the open chunk, the
# sums, and from the last column on the words of the caption in use, one bit each.
KEY, SLOT = range(2)
NEXT, END, TOTAL, USED = range(4)
NONE = -1

Space = tuple[IntArray, IntArray, IntArray, IntArray]
State = tuple[int, int, int]
"""Of a path: closed chunks, the word of the caption after the open one or ``NONE``, and the sums."""


@njit(nogil=True, cache=True)
def score_captions(
    corpus: Corpus, references: Lists, captions: IntArray, images: IntArray, out: FloatArray, first: int, last: int
) -> None:
    """Fill ``out[first:last]`` with the best score of each of ``captions[first:last]`` over the references of images.

    ``references`` are the distinct references of every image; one that several of ``images`` share is scored once.
    """
    known = np.full(len(corpus.same), -1.0)
    offers = np.zeros((len(corpus.match_starts), 2), np.int64)
    space = _search_space(np.diff(corpus.text_starts).max())
    for row in range(first, last):
        proposals, own, units = _propose(corpus, captions[row], offers)
        for column, image in enumerate(images):
            best = 0.0
            for at in range(references.starts[image], references.starts[image + 1]):
                text = references.values[at]
                if known[text] < 0:
                    proposals = _collect(corpus, captions[row], text, proposals, own, offers, space[0])
                    known[text] = _score(corpus, captions[row], text, proposals, space)
                best = max(best, known[text])
            out[row, column] = best
        for unit in units:
            offers[unit, FIRST] = offers[unit, LAST] = 0
        for image in images:
            for at in range(references.starts[image], references.starts[image + 1]):
                known[references.values[at]] = -1.0


@njit(nogil=True, cache=True)
def _search_space(words: int) -> Space:
    """Memory for aligning texts of up to ``words`` words: runs, coverage, beams and paths, the latter two twice."""
    runs = np.zeros((words + 1, 3), np.int64)
    covered = np.zeros((2, words + 1), np.int64)
    beam = np.zeros((2, BEAM, 2), np.int64)
    paths = np.zeros((2, BEAM, USED + (words + 63) // 64), np.int64)
    return runs, covered, beam, paths


@njit(nogil=True, cache=True)
def _propose(corpus: Corpus, caption: int, offers: IntArray) -> tuple[IntArray, int, IntArray]:
    """What a caption proposes to the units of references: rows ``offers[u, FIRST]`` to ``offers[u, LAST]`` for unit u.

    Returns the rows, with room for more, their number, and the units that have any.
    """
    first, last = corpus.text_starts[caption], corpus.text_starts[caption + 1]
    units = np.empty(len(corpus.match_starts), np.int64)
    touched = rows = 0
    for at in range(corpus.place_starts[first], corpus.place_starts[last]):
        unit = corpus.place_units[at]
        for match in range(corpus.match_starts[unit], corpus.match_starts[unit + 1]):
            other = corpus.match_units[match]
            if offers[other, LAST] == 0:
                units[touched] = other
                touched += 1
            offers[other, LAST] += 1
    for other in units[:touched]:
        offers[other, FIRST] = rows
        rows += offers[other, LAST]
        offers[other, LAST] = offers[other, FIRST]
    proposals = np.empty((2 * rows, COLUMNS), np.int64)
    for place in range(first, last):
        for at in range(corpus.place_starts[place], corpus.place_starts[place + 1]):
            unit = corpus.place_units[at]
            for match in range(corpus.match_starts[unit], corpus.match_starts[unit + 1]):
                other = corpus.match_units[match]
                row = offers[other, LAST]
                for column in range(COLUMNS):
                    proposals[row, column] = corpus.match_rows[match, column]
                proposals[row, PLACE] = place - first
                proposals[row, ORDER] += (place - first) << corpus.match_shifts[match]
                _sort_in(proposals, offers[other, FIRST], row)
                offers[other, LAST] += 1
    return proposals, rows, units[:touched]


@njit(nogil=True, cache=True)
def _sort_in(proposals: IntArray, begin: int, row: int) -> None:
    """Move a row up to its place among the ordered rows from ``begin`` on."""
    while row > begin and proposals[row - 1, ORDER] > proposals[row, ORDER]:
        for column in range(COLUMNS):
            above = proposals[row - 1, column]
            proposals[row - 1, column] = proposals[row, column]
            proposals[row, column] = above
        row -= 1


@njit(nogil=True, cache=True)
def _collect(
    corpus: Corpus, caption: int, reference: int, proposals: IntArray, own: int, offers: IntArray, runs: IntArray
) -> IntArray:
    """Set ``runs[j]`` to the rows of what is proposed to word j of a reference; returns the rows.

    The rows are those of the caption, ``own`` in number, followed by copies where several units that start at one word
    have proposals, which are sorted together.
    """
    first, rows = corpus.text_starts[reference], own
    same = corpus.same[caption] == corpus.same[reference]
    for place in range(first, corpus.text_starts[reference + 1]):
        begin = end = 0
        for at in range(corpus.place_starts[place], corpus.place_starts[place + 1]):
            unit = corpus.place_units[at]
            if offers[unit, LAST] == 0:
                continue
            if begin == end:
                begin, end = offers[unit, FIRST], offers[unit, LAST]
            else:
                proposals, begin, end = _merge(proposals, begin, end, offers[unit, FIRST], offers[unit, LAST], rows)
                rows = end
        if same:
            # Equal texts are matched only by equal words.
            while end > begin and proposals[end - 1, ORDER] >> STAGE_SHIFT != EXACT:
                end -= 1
        runs[place - first, FIRST], runs[place - first, LAST] = begin, end
    return proposals


@njit(nogil=True, cache=True)
def _merge(
    proposals: IntArray, begin: int, end: int, other_begin: int, other_end: int, rows: int
) -> tuple[IntArray, int, int]:
    """Copy two runs, sorted together, after the first ``rows`` rows; returns the rows, and the ends of the new run."""
    size = rows + end - begin + other_end - other_begin
    if size > len(proposals):
        more = np.empty((2 * size, COLUMNS), np.int64)
        more[:rows] = proposals[:rows]
        proposals = more
    for place in range(rows, size):
        row = begin + place - rows
        if row >= end:
            row += other_begin - end
        for column in range(COLUMNS):
            proposals[place, column] = proposals[row, column]
        _sort_in(proposals, rows, place)
    return proposals, rows, size


@njit(nogil=True, cache=True)
def _score(corpus: Corpus, caption: int, reference: int, proposals: IntArray, space: Space) -> float:
    """METEOR of a pair of texts whose proposals have been collected; 0 where nothing matches."""
    size = corpus.text_starts[caption + 1] - corpus.text_starts[caption]
    other_size = corpus.text_starts[reference + 1] - corpus.text_starts[reference]
    chunks, sums = _align(size, other_size, proposals, space)
    matched, other_matched = sums >> CAPTION_WORDS & SUM_MASK, sums >> REFERENCE_WORDS & SUM_MASK
    if matched == 0:
        return 0.0
    precision = (sums >> CAPTION_WEIGHT & SUM_MASK) / corpus.weights[caption]
    recall = (sums >> REFERENCE_WEIGHT & SUM_MASK) / corpus.weights[reference]
    mean = 1.0 / ((1.0 - ALPHA) / precision + ALPHA / recall)
    if chunks == 1 and matched == size and other_matched == other_size:
        return mean
    return mean * (1.0 - GAMMA * (chunks / ((matched + other_matched) / 2)) ** BETA)


@njit(nogil=True, cache=True)
def _align(size: int, other_size: int, proposals: IntArray, space: Space) -> tuple[int, int]:
    """Chunks and sums of the alignment of a caption of ``size`` words to a reference of ``other_size``."""
    runs, covered = space[:2]
    first, last = _settle(size, other_size, proposals, runs, covered)
    state = _walk(0, first, (0, NONE, 0), proposals, runs)
    if last >= 0:
        word, state = _search(first, last, other_size, state, proposals, space)
        state = _walk(word, other_size, state, proposals, runs)
    chunks, end, sums = state
    return chunks + (end != NONE), sums


@njit(nogil=True, cache=True)
def _settle(size: int, other_size: int, proposals: IntArray, runs: IntArray, covered: IntArray) -> tuple[int, int]:
    """Tell fixed matches from choices, ``runs[j, KIND]``; returns the first and the last word with a choice.

    ``covered`` counts the proposals that cover each word of the caption, and of the reference.
    """
    covered[0, :size] = 0
    covered[1, :other_size] = 0
    for word in range(other_size):
        for row in range(runs[word, FIRST], runs[word, LAST]):
            for place in range(proposals[row, PLACE], proposals[row, PLACE] + proposals[row, LENGTH]):
                covered[0, place] += 1
            for place in range(word, word + proposals[row, SPAN]):
                covered[1, place] += 1
    first, last = other_size, -1
    for word in range(other_size):
        row = runs[word, FIRST]
        count = runs[word, LAST] - row
        kind = NOTHING if count == 0 else FIXED if count == 1 else CHOICE
        if count == 1:
            for place in range(proposals[row, PLACE], proposals[row, PLACE] + proposals[row, LENGTH]):
                if covered[0, place] != 1:
                    kind = CHOICE
            for place in range(word, word + proposals[row, SPAN]):
                if covered[1, place] != 1:
                    kind = CHOICE
        if kind == CHOICE:
            first, last = min(first, word), word
        runs[word, KIND] = kind
    return first, last


@njit(nogil=True, cache=True)
def _walk(word: int, stop: int, state: State, proposals: IntArray, runs: IntArray) -> State:
    """Go from ``word`` to ``stop`` where no word has a choice."""
    chunks, end, sums = state
    while word < stop:
        if runs[word, KIND] == NOTHING:
            chunks += end != NONE
            end = NONE
            word += 1
        else:
            row = runs[word, FIRST]
            chunks += end != NONE and end != proposals[row, PLACE]
            end = proposals[row, PLACE] + proposals[row, LENGTH]
            sums += proposals[row, SUMS]
            word += proposals[row, SPAN]
    return chunks, end, sums


@njit(nogil=True, cache=True)
def _search(first: int, last: int, size: int, state: State, proposals: IntArray, space: Space) -> tuple[int, State]:
    """Beam search from the first word with a choice until the last is past and all paths have the same continuation.

    Returns the word it reached and the state of the best path.
    """
    runs, _, beam, paths = space
    now, count, word, level = 0, 1, first, False
    beam[0, 0, KEY], beam[0, 0, SLOT] = CHUNK * state[0], 0
    paths[0, 0, :] = 0
    paths[0, 0, NEXT], paths[0, 0, END], sums = word, state[1], state[2]
    while word < size and not (level and word > last):
        if runs[word, KIND] == CHOICE:
            count = _branch(now, count, word, proposals, runs, beam, paths)
            now, level = 1 - now, False
            word += 1
        elif runs[word, KIND] == FIXED:
            row = runs[word, FIRST]
            place, span = proposals[row, PLACE], proposals[row, SPAN]
            level = _pass(now, count, level, word, place, place + proposals[row, LENGTH], span, beam, paths)
            sums += proposals[row, SUMS]
            word += span
        else:
            level = _pass(now, count, level, word, NONE, NONE, 1, beam, paths)
            word += 1
    if not level:
        # The end of the reference closes chunks before the best path is taken, as a word without a match does.
        _pass(now, count, level, size, NONE, NONE, 1, beam, paths)
    slot = beam[now, 0, SLOT]
    return word, (beam[now, 0, KEY] >> CHUNK_SHIFT & CHUNK_MASK, paths[now, slot, END], sums + paths[now, slot, TOTAL])


@njit(nogil=True, cache=True)
def _pass(
    now: int, count: int, level: bool, word: int, place: int, after: int, span: int, beam: IntArray, paths: IntArray
) -> bool:
    """Every path takes a fixed match from ``place`` to ``after``, or none: ``NONE``. Returns whether all are past it.

    A path inside a match continues in it. Words and distance, which all paths gain equally, do not change their order.
    """
    inside = False
    for rank in range(count):
        slot = beam[now, rank, SLOT]
        if paths[now, slot, NEXT] > word:
            inside = True
            continue
        if paths[now, slot, END] != NONE and paths[now, slot, END] != place:
            beam[now, rank, KEY] += CHUNK
        paths[now, slot, NEXT], paths[now, slot, END] = word + span, after
    if not level:
        _sort(now, count, beam)
    return not inside


@njit(nogil=True, cache=True)
def _sort(now: int, count: int, beam: IntArray) -> None:
    """Order paths by their keys; equal ones keep their order."""
    for start in range(1, count):
        rank, key, slot = start, beam[now, start, KEY], beam[now, start, SLOT]
        while rank > 0 and beam[now, rank - 1, KEY] > key:
            beam[now, rank, KEY], beam[now, rank, SLOT] = beam[now, rank - 1, KEY], beam[now, rank - 1, SLOT]
            rank -= 1
        beam[now, rank, KEY], beam[now, rank, SLOT] = key, slot


@njit(nogil=True, cache=True)
def _branch(
    now: int, count: int, word: int, proposals: IntArray, runs: IntArray, beam: IntArray, paths: IntArray
) -> int:
    """Every path tries each proposal to a word, and none; the best continue. Returns their number."""
    then, kept, columns = 1 - now, 0, paths.shape[2]
    begin, end = runs[word, FIRST], runs[word, LAST]
    for rank in range(count):
        key, slot = beam[now, rank, KEY], beam[now, rank, SLOT]
        previous, inside = paths[now, slot, END], paths[now, slot, NEXT] > word
        # Row ``end`` stands for no match; a path inside a match has no other choice and stays as it is.
        for row in range(end if inside else begin, end + 1):
            place = after = NONE
            child = key
            if row < end:
                place, after = proposals[row, PLACE], proposals[row, PLACE] + proposals[row, LENGTH]
                taken = np.int64(0)
                for each in range(place, after):
                    taken |= paths[now, slot, USED + (each >> 6)] >> (each & 63) & 1
                if taken:
                    continue
                child += proposals[row, GAIN]
                key += abs(word - place)
            if not inside and previous != NONE and previous != place:
                child += CHUNK
            if kept < BEAM:
                at = free = kept
                kept += 1
            elif beam[then, BEAM - 1, KEY] > child:
                at, free = BEAM - 1, beam[then, BEAM - 1, SLOT]
            else:
                continue
            while at > 0 and beam[then, at - 1, KEY] > child:
                beam[then, at, KEY], beam[then, at, SLOT] = beam[then, at - 1, KEY], beam[then, at - 1, SLOT]
                at -= 1
            beam[then, at, KEY], beam[then, at, SLOT] = child, free
            for column in range(columns):
                paths[then, free, column] = paths[now, slot, column]
            if inside:
                continue
            paths[then, free, NEXT], paths[then, free, END] = word + 1, after
            if row < end:
                paths[then, free, NEXT] = word + proposals[row, SPAN]
                paths[then, free, TOTAL] += proposals[row, SUMS]
                for each in range(place, after):
                    paths[then, free, USED + (each >> 6)] |= 1 << (each & 63)
    return kept
