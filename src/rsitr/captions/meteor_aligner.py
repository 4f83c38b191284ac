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

# Columns of the beam, and of a path: the next word of the reference, the word of the caption behind the open chunk, the
# sums, and from the last column on the words of the caption in use, a bit each.
KEY, SLOT = range(2)
NEXT, END, TOTAL, USED = range(4)
NONE, OUTSIDE = -1, -2

# Columns of a run, the proposals to one word of a reference, and kinds of words.
FIRST, LAST, KIND = range(3)
NOTHING, FIXED, CHOICE = range(3)


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
    runs = np.zeros((words + 1, 3), np.int64)
    covered = np.zeros((2, words + 1), np.int64)
    beam = np.zeros((2, BEAM, 2), np.int64)
    paths = np.zeros((2, BEAM, USED + (words + 63) // 64), np.int64)
    return runs, covered, beam, paths


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
        runs[place - first, FIRST], runs[place - first, LAST] = begin, end
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
    runs, covered, beam, paths = space
    _cover(size, other_size, proposals, runs, covered)
    first, last = _settle(other_size, proposals, runs, covered)
    chunks, end, total = _walk(0, first, 0, NONE, 0, proposals, runs)
    if last >= 0:
        word, chunks, end, total = _search(first, last, other_size, chunks, end, total, proposals, runs, beam, paths)
        chunks, end, total = _walk(word, other_size, chunks, end, total, proposals, runs)
    return chunks + (end != NONE), total


@njit(nogil=True, cache=True)
def _cover(size, other_size, proposals, runs, covered):
    """Count how many proposals cover each word of the caption, ``covered[0]``, and of the reference, ``covered[1]``."""
    covered[0, :size] = 0
    covered[1, :other_size] = 0
    for word in range(other_size):
        for row in range(runs[word, FIRST], runs[word, LAST]):
            for place in range(proposals[row, PLACE], proposals[row, PLACE] + proposals[row, LENGTH]):
                covered[0, place] += 1
            for place in range(word, word + proposals[row, SPAN]):
                covered[1, place] += 1


@njit(nogil=True, cache=True)
def _settle(other_size, proposals, runs, covered):
    """Tell fixed matches from choices, ``runs[j, KIND]``; returns the first and the last word with a choice."""
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
def _walk(word, stop, chunks, end, total, proposals, runs):
    """Go from ``word`` to ``stop`` where no word has a choice; returns the closed chunks, the open one, and the sums."""
    while word < stop:
        if runs[word, KIND] == NOTHING:
            chunks += end != NONE
            end = NONE
            word += 1
        else:
            row = runs[word, FIRST]
            chunks += end != NONE and end != proposals[row, PLACE]
            end = proposals[row, PLACE] + proposals[row, LENGTH]
            total += proposals[row, SUMS]
            word += proposals[row, SPAN]
    return chunks, end, total


@njit(nogil=True, cache=True)
def _search(first, last, other_size, chunks, end, total, proposals, runs, beam, paths):
    """Beam search from the first word with a choice on, until all paths have the same to come.

    Returns the word it has come to, and of the best path the closed chunks, the open one, and the sums.
    """
    now, count, word, level = 0, 1, first, False
    beam[0, 0, KEY], beam[0, 0, SLOT] = CHUNK * chunks, 0
    paths[0, 0, :] = 0
    paths[0, 0, NEXT], paths[0, 0, END], paths[0, 0, TOTAL] = word, end, total
    while word < other_size and not (level and word > last):
        if runs[word, KIND] == NOTHING:
            level = _skip(now, count, word, level, beam, paths)
            word += 1
        elif runs[word, KIND] == FIXED:
            _follow(now, count, proposals, runs[word, FIRST], level, beam, paths)
            level = True
            word += proposals[runs[word, FIRST], SPAN]
        elif word == last and _is_last_choice(now, count, word, proposals, runs, beam, paths):
            _choose(now, count, word, other_size, proposals, runs, beam, paths)
            now, level = 1 - now, True
            word += 1
        else:
            count = _branch(now, count, word, proposals, runs, beam, paths)
            now, level = 1 - now, False
            word += 1
    if not level:
        # What is open at the end of the reference closes before the best is taken.
        for rank in range(count):
            if paths[now, beam[now, rank, SLOT], END] != NONE:
                beam[now, rank, KEY] += CHUNK
                paths[now, beam[now, rank, SLOT], END] = NONE
        _sort(now, count, beam)
    slot = beam[now, 0, SLOT]
    return word, beam[now, 0, KEY] >> CHUNK_SHIFT & CHUNK_MASK, paths[now, slot, END], paths[now, slot, TOTAL]


@njit(nogil=True, cache=True)
def _follow(now, count, proposals, row, level, beam, paths):
    """Every path takes a fixed match. What all of them gain alike, words and distance, does not change their order."""
    place, after = proposals[row, PLACE], proposals[row, PLACE] + proposals[row, LENGTH]
    for rank in range(count):
        slot = beam[now, rank, SLOT]
        if paths[now, slot, END] != NONE and paths[now, slot, END] != place:
            beam[now, rank, KEY] += CHUNK
        paths[now, slot, NEXT] += proposals[row, SPAN]
        paths[now, slot, END] = after
        paths[now, slot, TOTAL] += proposals[row, SUMS]
    if not level:
        _sort(now, count, beam)


@njit(nogil=True, cache=True)
def _skip(now, count, word, level, beam, paths):
    """Every path leaves a word unmatched unless it is inside a match; returns whether none is."""
    inside = False
    for rank in range(count):
        slot = beam[now, rank, SLOT]
        if paths[now, slot, NEXT] > word:
            inside = True
            continue
        if paths[now, slot, END] != NONE:
            beam[now, rank, KEY] += CHUNK
        paths[now, slot, NEXT], paths[now, slot, END] = word + 1, NONE
    if not level:
        _sort(now, count, beam)
    return not inside


@njit(nogil=True, cache=True)
def _sort(now, count, beam):
    """Order paths by their keys; equal ones keep their order."""
    for start in range(1, count):
        rank, key, slot = start, beam[now, start, KEY], beam[now, start, SLOT]
        while rank > 0 and beam[now, rank - 1, KEY] > key:
            beam[now, rank, KEY], beam[now, rank, SLOT] = beam[now, rank - 1, KEY], beam[now, rank - 1, SLOT]
            rank -= 1
        beam[now, rank, KEY], beam[now, rank, SLOT] = key, slot


@njit(nogil=True, cache=True)
def _branch(now, count, word, proposals, runs, beam, paths):
    """Every path tries each proposal to a word, and leaves the word unmatched; the best go on. Returns their number."""
    then, kept, columns = 1 - now, 0, paths.shape[2]
    begin, end = runs[word, FIRST], runs[word, LAST]
    for rank in range(count):
        key, slot = beam[now, rank, KEY], beam[now, rank, SLOT]
        previous, inside = paths[now, slot, END], paths[now, slot, NEXT] > word
        for row in range(end if inside else begin, end + 1):
            child = key
            place = after = NONE
            if row < end:
                place, after = proposals[row, PLACE], proposals[row, PLACE] + proposals[row, LENGTH]
                taken = np.int64(0)
                for each in range(place, after):
                    taken |= paths[now, slot, USED + (each >> 6)] >> (each & 63) & 1
                if taken:
                    continue
                child += proposals[row, GAIN]
                key += abs(word - place)
            if previous != NONE and previous != place and not inside:
                child += CHUNK
            if kept < BEAM:
                at, free = kept, kept
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


@njit(nogil=True, cache=True)
def _is_last_choice(now, count, word, proposals, runs, beam, paths):
    """Whether nothing but the path to take is open after a word, and the beam holds all paths there are."""
    if count * (runs[word, LAST] - runs[word, FIRST] + 1) > BEAM:
        return False
    for row in range(runs[word, FIRST], runs[word, LAST]):
        if proposals[row, SPAN] != 1:
            return False
    for rank in range(count):
        if paths[now, beam[now, rank, SLOT], NEXT] > word:
            return False
    return True


@njit(nogil=True, cache=True)
def _choose(now, count, word, other_size, proposals, runs, beam, paths):
    """The last choice: what ``_branch`` and sorting at the next word would put first becomes the only path."""
    joined = OUTSIDE
    if word + 1 < other_size and runs[word + 1, KIND] == FIXED:
        joined = proposals[runs[word + 1, FIRST], PLACE]
    best, best_key, best_end, best_total = MATCHED, MATCHED, NONE, 0
    for rank in range(count):
        key, slot = beam[now, rank, KEY], beam[now, rank, SLOT]
        previous, total = paths[now, slot, END], paths[now, slot, TOTAL]
        for row in range(runs[word, FIRST], runs[word, LAST]):
            place, after = proposals[row, PLACE], proposals[row, PLACE] + proposals[row, LENGTH]
            taken = np.int64(0)
            for each in range(place, after):
                taken |= paths[now, slot, USED + (each >> 6)] >> (each & 63) & 1
            if taken:
                continue
            child = key + proposals[row, GAIN]
            if previous != NONE and previous != place:
                child += CHUNK
            key += abs(word - place)
            final = child if after == joined else child + CHUNK
            if final < best or (final == best and child < best_key):
                best, best_key, best_end, best_total = final, child, after, total + proposals[row, SUMS]
        if previous != NONE:
            key += CHUNK
        if key < best or (key == best and key < best_key):
            best, best_key, best_end, best_total = key, key, NONE, total
    then = 1 - now
    beam[then, 0, KEY], beam[then, 0, SLOT] = best_key, 0
    paths[then, 0, END], paths[then, 0, TOTAL] = best_end, best_total
