"""The alignment of METEOR 1.5 and its score, for many pairs of texts: numba kernels.

A pair of texts is aligned in the aligner's two steps (M. Denkowski and A. Lavie, 'Meteor Universal', WMT 2014, section
2.1). Matches that compete with no other are fixed. The others are chosen by a beam search over the words of the
reference, which looks for more matched words, then fewer chunks, then a smaller distance; that it may miss the best
alignment is part of the measure, and so are three habits of the program that defines it. A single word that does not
match exactly counts for half and is rounded down to nothing. The distance of a match is charged to all that is
tried at the same word after it, and not to the match. Equal proposals of different stages take a place in the beam each.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from rsitr.captions.meteor_matches import EXACT, PARAPHRASE

BEAM = 40
ALPHA, BETA, GAMMA = 0.85, 0.2, 0.6
CONTENT_WEIGHTS = np.array([15, 9, 12, 9, 9])
"""Of a content word matched in each stage, in twentieths: 1, .6, .8, .6 x delta, which is .75."""
FUNCTION_WEIGHTS = np.array([5, 3, 4, 3, 3])
"""The same for a function word: x 1 - delta."""

# How good a path of the search is, as one number; smaller is better. Matched words count before chunks and these before
# distance, and no sum of the lesser can reach the greater: texts have at most ``MAX_WORDS`` words.
MATCHED, CHUNK = 1 << 50, 1 << 38
CHUNK_SHIFT, CHUNK_MASK = 38, (1 << 12) - 1

# What a set of matches adds to the score, as one number: four sums of 16 bits, which are the weights of the matched
# words of the caption and of the reference, and the number of these words.
CAPTION_WEIGHT, REFERENCE_WEIGHT, CAPTION_WORDS, REFERENCE_WORDS = 0, 16, 32, 48
SUM_MASK = (1 << 16) - 1

# Columns of a proposed match.
PLACE, LENGTH, SPAN, GAIN, SUMS, ORDER = range(6)
COLUMNS = 6

# Columns of a path: the next word of the reference, the word of the caption behind the open chunk, and the sums.
NEXT, END, TOTAL = range(3)
NONE = -1


@njit(nogil=True, cache=True)
def best_scores(corpus, reference_starts, references, captions, images, scores):
    """Fill ``scores`` [H, I] with the best score of each caption over the references of each image.

    ``references[reference_starts[i]:reference_starts[i + 1]]`` are the distinct references of image i.
    """
    known = np.empty(len(corpus.same))
    begins = np.zeros(len(corpus.unit_lengths), np.int64)
    ends = np.zeros(len(corpus.unit_lengths), np.int64)
    space = _search_space(np.diff(corpus.text_starts).max())
    for row in range(len(captions)):
        caption = captions[row]
        proposals, own, units = _propose(corpus, caption, begins, ends)
        known[:] = -1.0
        for column in range(len(images)):
            best = 0.0
            for at in range(reference_starts[images[column]], reference_starts[images[column] + 1]):
                reference = references[at]
                if known[reference] < 0:
                    proposals = _collect(corpus, caption, reference, proposals, own, begins, ends, space[0])
                    known[reference] = _score(corpus, caption, reference, proposals, space)
                best = max(best, known[reference])
            scores[row, column] = best
        for unit in units:
            begins[unit] = ends[unit] = 0


@njit(nogil=True, cache=True)
def _search_space(words):
    """Memory of a search over texts of up to so many words."""
    runs = np.zeros((words + 1, 2), np.int64)
    covered = np.zeros((2, words + 1), np.int64)
    paths = np.zeros((2, BEAM, 3), np.int64)
    used = np.zeros((2, BEAM, (words + 63) // 64), np.int64)
    keys = np.zeros((2, BEAM), np.int64)
    slots = np.zeros((2, BEAM), np.int64)
    return runs, covered, paths, used, keys, slots


@njit(nogil=True, cache=True)
def _propose(corpus, caption, begins, ends):
    """What the caption proposes to unit u of a reference, as rows ``begins[u]`` to ``ends[u]``.

    Returns the rows, with room for more, their number, and the units that have any.
    """
    first, last = corpus.text_starts[caption], corpus.text_starts[caption + 1]
    units = np.empty(len(corpus.unit_lengths), np.int64)
    touched = rows = 0
    for at in range(corpus.place_starts[first], corpus.place_starts[last]):
        unit = corpus.place_units[at]
        for match in range(corpus.match_starts[unit], corpus.match_starts[unit + 1]):
            other = corpus.match_units[match]
            if ends[other] == 0:
                units[touched] = other
                touched += 1
            ends[other] += 1
    for other in units[:touched]:
        begins[other] = rows
        rows += ends[other]
        ends[other] = begins[other]
    proposals = np.empty((2 * rows, COLUMNS), np.int64)
    for place in range(first, last):
        for at in range(corpus.place_starts[place], corpus.place_starts[place + 1]):
            unit = corpus.place_units[at]
            for match in range(corpus.match_starts[unit], corpus.match_starts[unit + 1]):
                other = corpus.match_units[match]
                _write_proposal(corpus, place - first, unit, match, proposals[ends[other]])
                _sort_in(proposals, begins[other], ends[other])
                ends[other] += 1
    return proposals, rows, units[:touched]


@njit(nogil=True, cache=True)
def _write_proposal(corpus, place, unit, match, row):
    other, stage, rank = corpus.match_units[match], corpus.match_stages[match], corpus.match_ranks[match]
    length, span = corpus.unit_lengths[unit], corpus.unit_lengths[other]
    functions, other_functions = corpus.unit_functions[unit], corpus.unit_functions[other]
    content, function = CONTENT_WEIGHTS[stage], FUNCTION_WEIGHTS[stage]
    row[PLACE], row[LENGTH], row[SPAN] = place, length, span
    row[GAIN] = -MATCHED * (length + span if stage == EXACT else length // 2 + span // 2)
    row[SUMS] = (
        (content * (length - functions) + function * functions) << CAPTION_WEIGHT
        | (content * (span - other_functions) + function * other_functions) << REFERENCE_WEIGHT
        | length << CAPTION_WORDS
        | span << REFERENCE_WORDS
    )
    # The order of METEOR's proposals to one word: by stage, and within it as its loops are nested.
    if stage < PARAPHRASE:
        row[ORDER] = stage << 58 | place
    elif stage == PARAPHRASE:
        row[ORDER] = stage << 58 | span << 52 | rank << 12 | place
    else:
        row[ORDER] = stage << 58 | place << 46 | length << 40 | rank


@njit(nogil=True, cache=True)
def _sort_in(proposals, begin, row):
    """Move a row up to its place among the ordered rows from ``begin`` on."""
    while row > begin and proposals[row - 1, ORDER] > proposals[row, ORDER]:
        for column in range(COLUMNS):
            above = proposals[row - 1, column]
            proposals[row - 1, column] = proposals[row, column]
            proposals[row, column] = above
        row -= 1


@njit(nogil=True, cache=True)
def _collect(corpus, caption, reference, proposals, own, begins, ends, runs):
    """Set ``runs[j]`` to the first and last row of what is proposed to word j of a reference; returns the rows.

    The rows are those of the caption, ``own`` in number, and behind them copies where several units that begin at one
    word have proposals, whose order is common.
    """
    first, rows = corpus.text_starts[reference], own
    same = corpus.same[caption] == corpus.same[reference]
    for place in range(first, corpus.text_starts[reference + 1]):
        begin = end = units = 0
        for at in range(corpus.place_starts[place], corpus.place_starts[place + 1]):
            unit = corpus.place_units[at]
            if ends[unit] == begins[unit]:
                continue
            units += 1
            if units == 1:
                begin, end = begins[unit], ends[unit]
                continue
            count = ends[unit] - begins[unit]
            if rows + end - begin + count > len(proposals):
                more = np.empty((2 * (rows + end - begin + count), COLUMNS), np.int64)
                more[:rows] = proposals[:rows]
                proposals = more
            if units == 2:
                proposals[rows : rows + end - begin] = proposals[begin:end]
                begin, end, rows = rows, rows + end - begin, rows + end - begin
            for row in range(begins[unit], ends[unit]):
                proposals[end] = proposals[row]
                _sort_in(proposals, begin, end)
                end += 1
            rows = end
        if same:
            # Equal texts are matched by equal words alone.
            while end > begin and proposals[end - 1, ORDER] >> 58 != EXACT:
                end -= 1
        runs[place - first, 0], runs[place - first, 1] = begin, end
    return proposals


@njit(nogil=True, cache=True)
def _score(corpus, caption, reference, proposals, space):
    """METEOR of a pair of texts whose proposals have been collected."""
    start, end = corpus.text_starts[caption], corpus.text_starts[caption + 1]
    other_start, other_end = corpus.text_starts[reference], corpus.text_starts[reference + 1]
    chunks, sums = _align(end - start, other_end - other_start, proposals, space)
    matched, other_matched = sums >> CAPTION_WORDS & SUM_MASK, sums >> REFERENCE_WORDS & SUM_MASK
    if matched == 0:
        return 0.0
    precision = (sums >> CAPTION_WEIGHT & SUM_MASK) / _weight(corpus, start, end)
    recall = (sums >> REFERENCE_WEIGHT & SUM_MASK) / _weight(corpus, other_start, other_end)
    mean = 1.0 / ((1.0 - ALPHA) / precision + ALPHA / recall)
    if chunks == 1 and matched == end - start and other_matched == other_end - other_start:
        return mean
    return mean * (1.0 - GAMMA * (chunks / ((matched + other_matched) / 2)) ** BETA)


@njit(nogil=True, cache=True)
def _weight(corpus, start, end):
    """Weight of all words of a text if all matched exactly."""
    functions = corpus.functions[end] - corpus.functions[start]
    return CONTENT_WEIGHTS[EXACT] * (end - start - functions) + FUNCTION_WEIGHTS[EXACT] * functions


@njit(nogil=True, cache=True)
def _align(size, other_size, proposals, space):
    """Chunks and sums of the alignment of a caption of ``size`` words to a reference of ``other_size``."""
    runs, covered, paths, used, keys, slots = space
    _cover(size, other_size, proposals, runs, covered)
    now, count, word = 0, 1, 0
    keys[0, 0] = slots[0, 0] = 0
    paths[0, 0, NEXT], paths[0, 0, END], paths[0, 0, TOTAL] = 0, NONE, 0
    used[0, 0] = 0
    while word < other_size:
        begin, end = runs[word]
        if end == begin + 1 and _alone(word, proposals[begin], covered):
            _follow(now, count, proposals[begin], paths, keys, slots)
            word += proposals[begin, SPAN]
        elif end == begin:
            _skip(now, count, word, paths, keys, slots)
            word += 1
        else:
            count = _branch(now, count, word, begin, end, proposals, paths, used, keys, slots)
            now = 1 - now
            word += 1
    _skip(now, count, other_size, paths, keys, slots)
    return keys[now, 0] >> CHUNK_SHIFT & CHUNK_MASK, paths[now, slots[now, 0], TOTAL]


@njit(nogil=True, cache=True)
def _cover(size, other_size, proposals, runs, covered):
    """Count how many proposals cover each word of the caption, ``covered[0]``, and of the reference, ``covered[1]``."""
    covered[0, :size] = 0
    covered[1, :other_size] = 0
    for word in range(other_size):
        for row in range(runs[word, 0], runs[word, 1]):
            for place in range(proposals[row, PLACE], proposals[row, PLACE] + proposals[row, LENGTH]):
                covered[0, place] += 1
            for place in range(word, word + proposals[row, SPAN]):
                covered[1, place] += 1


@njit(nogil=True, cache=True)
def _alone(word, proposal, covered):
    """Whether a proposal shares no word with another."""
    for place in range(proposal[PLACE], proposal[PLACE] + proposal[LENGTH]):
        if covered[0, place] != 1:
            return False
    for place in range(word, word + proposal[SPAN]):
        if covered[1, place] != 1:
            return False
    return True


@njit(nogil=True, cache=True)
def _follow(now, count, proposal, paths, keys, slots):
    """Every path takes a fixed match. What all of them gain alike, words and distance, does not change their order."""
    for rank in range(count):
        path = paths[now, slots[now, rank]]
        if path[END] not in (NONE, proposal[PLACE]):
            keys[now, rank] += CHUNK
        path[NEXT] += proposal[SPAN]
        path[END] = proposal[PLACE] + proposal[LENGTH]
        path[TOTAL] += proposal[SUMS]
    _sort(count, keys[now], slots[now])


@njit(nogil=True, cache=True)
def _skip(now, count, word, paths, keys, slots):
    """Every path leaves a word unmatched, unless it is inside a match of several words."""
    for rank in range(count):
        path = paths[now, slots[now, rank]]
        if path[NEXT] <= word:
            if path[END] != NONE:
                keys[now, rank] += CHUNK
            path[NEXT], path[END] = word + 1, NONE
    _sort(count, keys[now], slots[now])


@njit(nogil=True, cache=True)
def _sort(count, keys, slots):
    """Order paths by their keys; equal ones keep their order."""
    for rank in range(1, count):
        key, slot = keys[rank], slots[rank]
        while rank > 0 and keys[rank - 1] > key:
            keys[rank], slots[rank] = keys[rank - 1], slots[rank - 1]
            rank -= 1
        keys[rank], slots[rank] = key, slot


@njit(nogil=True, cache=True)
def _branch(now, count, word, begin, end, proposals, paths, used, keys, slots):
    """Every path tries each proposal to a word, and leaves the word unmatched; the best go on. Returns their number."""
    then, kept, masks = 1 - now, 0, used.shape[2]
    for rank in range(count):
        key, slot = keys[now, rank], slots[now, rank]
        previous, total = paths[now, slot, END], paths[now, slot, TOTAL]
        if paths[now, slot, NEXT] > word:
            admitted = _admit(key, kept, keys, slots, then)
            if admitted != NONE:
                kept = min(kept + 1, BEAM)
                paths[then, admitted, NEXT] = paths[now, slot, NEXT]
                paths[then, admitted, END], paths[then, admitted, TOTAL] = previous, total
                for mask in range(masks):
                    used[then, admitted, mask] = used[now, slot, mask]
            continue
        for row in range(begin, end):
            place, after = proposals[row, PLACE], proposals[row, PLACE] + proposals[row, LENGTH]
            free = True
            for each in range(place, after):
                if used[now, slot, each >> 6] >> (each & 63) & 1:
                    free = False
            if not free:
                continue
            broken = CHUNK if previous not in (NONE, place) else 0
            admitted = _admit(key + proposals[row, GAIN] + broken, kept, keys, slots, then)
            key += abs(word - place)
            if admitted == NONE:
                continue
            kept = min(kept + 1, BEAM)
            paths[then, admitted, NEXT] = word + proposals[row, SPAN]
            paths[then, admitted, END] = after
            paths[then, admitted, TOTAL] = total + proposals[row, SUMS]
            for mask in range(masks):
                used[then, admitted, mask] = used[now, slot, mask]
            for each in range(place, after):
                used[then, admitted, each >> 6] |= 1 << (each & 63)
        admitted = _admit(key + (CHUNK if previous != NONE else 0), kept, keys, slots, then)
        if admitted != NONE:
            kept = min(kept + 1, BEAM)
            paths[then, admitted, NEXT], paths[then, admitted, END] = word + 1, NONE
            paths[then, admitted, TOTAL] = total
            for mask in range(masks):
                used[then, admitted, mask] = used[now, slot, mask]
    return kept


@njit(nogil=True, cache=True)
def _admit(key, kept, keys, slots, then):
    """Slot for a path that comes after all those with smaller or equal keys; ``NONE`` if the beam is full of these."""
    rank, slot = kept, kept
    if kept == BEAM:
        if keys[then, BEAM - 1] <= key:
            return NONE
        rank, slot = BEAM - 1, slots[then, BEAM - 1]
    while rank > 0 and keys[then, rank - 1] > key:
        keys[then, rank], slots[then, rank] = keys[then, rank - 1], slots[then, rank - 1]
        rank -= 1
    keys[then, rank], slots[then, rank] = key, slot
    return slot
