"""What equal replays of two trees show: a verdict for each item.

Equal numbers are not enough. A changed statement has to have run in some replay, and a changed constant, limit or file
of data may act later than a replay lasts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, Literal, NamedTuple

from rsitr.records.code import Sources
from rsitr.records.modules import Key
from rsitr.records.statements import Statement, changed_files, difference, statements

RUNS = {"base": 0, "again": 0, "head": 1}
"""The replays, and the side that each is of: BASE or HEAD."""
FREE = ("variants", "published")
"""Attributes of methods that may gain entries: the configuration that they come to is compared as a whole."""
HIDDEN = ("'<no value>'", "_tuplegetter(")
"""How fields print whose default a class does not show: those of pydantic and of named tuples."""
OPAQUE = re.compile(r"<lambda>|\.\.\.|\btensor\(|re\.compile\(.{195}", re.DOTALL)
"""In what a constant prints as: it does not say all that the constant is."""

Plan = Mapping[str, dict[str, Any]]
"""Item -> its configuration, and the identities and entries of its parts."""


class Verdict(NamedTuple):
    """What came of one artefact."""

    name: str
    state: Literal["certified", "refused", "different"]
    reason: str = ""


class Changes:
    """The statements that differ between two trees in the code of some items."""

    def __init__(self, plans: tuple[Plan, Plan], wanted: Mapping[str, list[str]], codes: tuple[Sources, Sources]):
        """``wanted``: items of both trees -> the parts of their code that are to be compared."""
        self.plans, self.wanted, self.codes = plans, wanted, codes
        # Many items have the same entries, and reading takes seconds.
        self.statements: Callable[[int, tuple[str, ...]], dict[Key, list[Statement]]] = cache(
            lambda side, entries: statements(codes[side], entries)
        )
        self._compared = cache(lambda old, new: difference(self.statements(0, old), self.statements(1, new)))

    @cached_property
    def of(self) -> dict[tuple[str, str], tuple[list[Statement], list[Statement]]]:
        """(item, part) -> statements that only BASE has, and those that only HEAD has."""
        old, new = self.plans
        return {
            (name, part): self._compared(tuple(old[name]["entries"][part]), tuple(new[name]["entries"][part]))
            for name, parts in self.wanted.items()
            for part in parts
        }

    def watched(self, side: int) -> dict[str, list[list[int]]]:
        """The changed statements of a tree: file -> lines."""
        found: dict[str, list[list[int]]] = {}
        lines = (each for both in self.of.values() for each in both[side] if each.kind == "line")
        for file, *span in sorted({(each.file, *each.span) for each in lines}):
            found.setdefault(file, []).append(span)
        return found

    def constants(self, side: int) -> list[str]:
        """The changed constants of a tree, dotted."""
        return sorted({each.name for both in self.of.values() for each in both[side] if each.name})


class Judge:
    """Reads what the replays of two trees wrote."""

    def __init__(
        self,
        changes: Changes,
        results: Mapping[str, Mapping[str, dict[str, Any]]],
        values: tuple[Mapping[str, str], Mapping[str, str]],
    ):
        """``results``: run -> item -> what its replay wrote. ``values``: changed constants as each tree prints them."""
        self.changes, self.results, self.values = changes, results, values

    @cached_property
    def ran(self) -> tuple[set[tuple[str, int, int]], set[tuple[str, int, int]]]:
        """(file, first and last line) of the changed statements that ran in any replay, of both trees."""
        found: tuple[set[tuple[str, int, int]], set[tuple[str, int, int]]] = (set(), set())
        for run, side in RUNS.items():
            for result in self.results[run].values():
                found[side].update((name, *span) for name, spans in result["ran"].items() for span in spans)
        return found

    def verdicts(self) -> list[Verdict]:
        """What the replays show of every item that was wanted."""
        return [self._judge(name) for name in self.changes.wanted]

    def _judge(self, name: str) -> Verdict:
        results = {run: self.results[run].get(name) for run in RUNS}
        for run, result in results.items():
            if result is None:
                return Verdict(name, "refused", f"its replay ({run}) did not end")
            if "error" in result:
                return Verdict(name, "refused", f"it cannot be replayed ({run}): {result['error']}")
        base, again, head = (results[run]["trace"] for run in RUNS)  # type: ignore[index]
        if (found := _first_difference(base, again)) is not None:
            return Verdict(name, "refused", f"two replays of BASE differ by themselves: {found}")
        if (found := _other_settings(base, head)) is not None:
            return Verdict(name, "different", found)
        if (found := _first_difference(_numbers(base), _numbers(head))) is not None:
            return Verdict(name, "different", found)
        for part in self.changes.wanted[name]:
            if reason := self._unknown(name, part):
                return Verdict(name, "refused", f"{part}: {reason}")
        return Verdict(name, "certified")

    def _unknown(self, name: str, part: str) -> str:
        """Why an equal replay of an item does not show that a part of its code computes the same; empty if it does."""
        old, new = self.changes.plans
        entries = (old[name]["entries"][part], new[name]["entries"][part])
        if files := changed_files(*self.changes.codes, *entries):
            return f"{', '.join(files)} changed, of which a slice of the data uses a part"
        both = self.changes.of[name, part]
        for side, tree in enumerate(("BASE", "HEAD")):
            for statement in both[side]:
                if statement.kind == "line" and (statement.file, *statement.span) not in self.ran[side]:
                    return f"{statement.place} of {tree} is changed and did not run"
        constants = [self._bound(side, entries[side], both[side]) for side in (0, 1)]
        if gone := _other_amounts(*(self._amounts(name, both[side], constants[side]) for side in (0, 1))):
            return f"a limit changed ({', '.join(gone)}), and may act later than a replay lasts"
        texts = [Counter(each.values()) for each in constants]
        if texts[0] != texts[1]:
            odd = dict.fromkeys(
                constant for side in (0, 1) for constant, text in constants[side].items() if not texts[1 - side][text]
            )
            return f"{', '.join(odd) or 'a constant'} has another value, and acts wherever it is used"
        return ""

    def _bound(self, side: int, entries: Iterable[str], changed: Sequence[Statement]) -> dict[str, str]:
        """Values of the changed constants that a statement uses which did not change."""
        places = {(statement.file, statement.span) for statement in changed}
        all_of = (each for own in self.changes.statements(side, tuple(entries)).values() for each in own)
        used = {key for each in all_of if (each.file, each.span) not in places for key in each.uses}
        known = self.values[side]
        return {
            each.name: f"{known[each.name]} {each.key}" if OPAQUE.search(known[each.name]) else known[each.name]
            for each in changed
            if each.name in known
            and not known[each.name].startswith(HIDDEN)
            and each.own in used
            and not each.name.endswith(FREE)
        }

    def _amounts(self, name: str, changed: Sequence[Statement], bound: Container[str]) -> Amounts:
        """The numbers of the changed statements of an item, but for constants whose values are compared."""
        trace = self.results["head"][name]["trace"]
        compared = {f".{entry[0].removeprefix('settings.')}" for entry in trace if entry[0].startswith("settings.")}
        others = [each for each in changed if not (each.name in bound or each.name.endswith((*FREE, *compared)))]
        return Amounts(
            limits=Counter(number for each in changed for number in each.limits),
            named=Counter(number for each in others for number in each.named),
            literals=Counter(number for each in changed for number in each.literals),
        )


class Amounts(NamedTuple):
    """How often each number is in changed statements."""

    limits: Counter[str]
    named: Counter[str]
    literals: Counter[str]


def _other_amounts(old: Amounts, new: Amounts) -> list[str]:
    """Numbers of one side that may be a limit and are none of the other, nor what a name stands for there."""
    found = []
    for one, other in ((old, new), (new, old)):
        found += sorted(one.limits - (other.limits + other.named))
        found += sorted(one.named - other.literals)
    return list(dict.fromkeys(found))


def _numbers(trace: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    return [entry for entry in trace if not entry[0].startswith("settings.")]


def _other_settings(base: Sequence[Sequence[str]], head: Sequence[Sequence[str]]) -> str | None:
    """The first setting that is another; one that only one tree has does not count, as the numbers agree without it."""
    old, new = ({name: value for name, value in trace if name.startswith("settings.")} for trace in (base, head))
    for name in old:
        if name in new and old[name] != new[name]:
            return f"{name.removeprefix('settings.')} is {new[name]} instead of {old[name]}"
    return None


def _first_difference(one: Sequence[Sequence[str]], other: Sequence[Sequence[str]]) -> str | None:
    """The first entry in which two traces differ, with both values."""
    seen: Counter[str] = Counter()
    for left, right in zip(one, other, strict=False):
        seen[left[0]] += 1
        if left[0] != right[0]:
            return f"{right[0]} where {left[0]} was"
        if left[1] != right[1]:
            return f"{left[0]} {seen[left[0]]}: {_shown(left[1])} became {_shown(right[1])}"
    return None if len(one) == len(other) else f"{len(other)} numbers instead of {len(one)}"


def _shown(text: str) -> str:
    """A value for a person: floats as decimals, long ones cut."""
    try:
        return " ".join(f"{float.fromhex(part):.9g}" for part in text.split()) if "0x" in text else text[:60]
    except ValueError:
        return text[:60]


def summary(verdicts: Sequence[Verdict]) -> str:
    """One line, and one for each item that was not certified."""
    counts = Counter(verdict.state for verdict in verdicts)
    lines = [", ".join(f"{counts[state]} {state}" for state in ("certified", "refused", "different"))]
    for state in ("different", "refused"):
        reasons: dict[str, list[str]] = {}
        for verdict in verdicts:
            if verdict.state == state:
                reasons.setdefault(verdict.reason, []).append(verdict.name)
        for reason, names in reasons.items():
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            lines.append(f"{state}: {shown}: {reason}")
    return "\n".join(lines)
