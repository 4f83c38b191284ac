"""What `rsitr certify` makes of traces and of changed code, without replaying anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rsitr.pipeline.judging import Changes, Judge, Verdict, _first_difference, _other_settings, _shown, summary
from tests.helpers.toys import write_toy

TRACE = [("settings.epochs", "3"), ("loss", "0x1.8p+0"), ("loss", "0x1.4p+0"), ("status", "ok")]


def changed(place: int, value: str) -> list[tuple[str, str]]:
    return [(name, value if number == place else old) for number, (name, old) in enumerate(TRACE)]


def test_equal_traces_differ_in_nothing() -> None:
    assert _first_difference(TRACE, list(TRACE)) is None
    assert _first_difference([], []) is None


def test_the_first_other_value_is_named_with_its_number() -> None:
    assert _first_difference(TRACE, changed(1, "0x1.0p+0")) == "loss 1: 1.5 became 1"
    assert _first_difference(TRACE, changed(2, "0x1.0p+0")) == "loss 2: 1.25 became 1"
    assert _first_difference(TRACE, changed(3, "failed")) == "status 1: ok became failed"


def test_bits_count_where_decimals_agree() -> None:
    found = _first_difference(TRACE, changed(1, (1.5 + 2**-52).hex()))
    assert found == "loss 1: 1.5 became 1.5"


def test_another_entry_is_named_with_what_was_there() -> None:
    other = [*TRACE[:2], ("status", "failed"), *TRACE[3:]]
    assert _first_difference(TRACE, other) == "status where loss was"


def test_traces_of_other_lengths_differ() -> None:
    assert _first_difference(TRACE, TRACE[:3]) == "3 numbers instead of 4"
    assert _first_difference(TRACE[:3], TRACE) == "4 numbers instead of 3"
    assert _first_difference([], TRACE) == "4 numbers instead of 0"


def test_settings_that_both_trees_have_have_to_agree() -> None:
    assert _other_settings(TRACE, TRACE) is None
    assert _other_settings(TRACE, changed(0, "4")) == "epochs is 4 instead of 3"
    assert _other_settings(TRACE, changed(1, "0x1.0p+0")) is None, "no setting"
    new = [("settings.dropout", "0.5"), *TRACE]
    assert _other_settings(TRACE, new) is None, "a new setting that changes no number"
    assert _other_settings(new, TRACE) is None
    assert _other_settings([*new, ("settings.a", "1")], [("settings.a", "2"), *changed(0, "4")]) == (
        "epochs is 4 instead of 3"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0x1.8p+0", "1.5"),
        ("0x1.8p+0 -0x1.0p-1", "1.5 -0.5"),
        ("0x1.5555555555555p-2", "0.333333333"),
        ("0x1.8p+0 nan inf", "1.5 nan inf"),
        ("nan", "nan"),
        ("0xnothing", "0xnothing"),
        ("a" * 61, "a" * 60),
        ("0x" + "z" * 100, "0x" + "z" * 58),
        ("ok", "ok"),
    ],
)
def test_values_are_shown_for_a_person(text: str, shown: str) -> None:
    assert _shown(text) == shown


def test_summary_counts_and_groups() -> None:
    verdicts = [
        Verdict("a", "certified"),
        *(Verdict(name, "refused", "no data") for name in ("b", "c", "d", "e", "f")),
        Verdict("g", "refused", "no time"),
        *(Verdict(name, "different", "loss 1: 1 became 2") for name in ("h", "i", "j")),
    ]
    assert summary(verdicts).splitlines() == [
        "1 certified, 6 refused, 3 different",
        "different: h, i, j: loss 1: 1 became 2",
        "refused: b, c, d and 2 more: no data",
        "refused: g: no time",
    ]
    assert summary([]) == "0 certified, 0 refused, 0 different"


# What an equal replay does not show

Reason = Callable[..., str]


@pytest.fixture
def judge(tmp_path: Path) -> Reason:
    """``judge(old, new)``: why equal replays of ``toy.a.f`` show nothing, if so.

    ``idle``: lines (``file:line``) that run in no replay; ``values`` of constants in both trees, those of ``values``
    itself where they are equal; ``settings`` that both replays state.
    """

    def judge(
        old: str | dict[str, str],
        new: str | dict[str, str],
        idle: set[str] = frozenset(),  # type: ignore[assignment]
        values: tuple[dict[str, str], dict[str, str]] = ({}, {}),
        settings: tuple[str, ...] = (),
    ) -> str:
        files = [{"a.py": each} if isinstance(each, str) else each for each in (old, new)]
        codes = [write_toy(tmp_path / name, each) for name, each in zip(("old", "new"), files, strict=True)]
        plan = {"item": {"entries": {"code": ["toy.a.f"]}}}
        changes = Changes((plan, plan), {"item": ["code"]}, (codes[0], codes[1]))
        trace = [*((f"settings.{name}", "1") for name in settings), ("loss", "0x1.8p+0")]
        ran: list[dict[str, list[tuple[int, int]]]] = [{}, {}]
        for side, statements in enumerate(changes.of["item", "code"]):
            for each in statements:
                if each.place not in idle:
                    ran[side].setdefault(each.file, []).append(each.span)
        results = {run: {"item": {"trace": trace, "ran": ran[run == "head"]}} for run in ("base", "again", "head")}
        dotted = [{f"toy.a.{name}": text for name, text in each.items()} for each in values]
        [verdict] = Judge(changes, results, (dotted[0], dotted[1])).verdicts()
        assert verdict.state in ("certified", "refused")
        assert (verdict.state == "certified") == (verdict.reason == "")
        return verdict.reason.removeprefix("code: ")

    return judge


FUNCTION = "def f(x, epoch):\n    if epoch > x:\n        return x * 2\n    return x + x\n"


def test_changed_lines_that_ran_and_computed_the_same_are_fine(judge: Reason) -> None:
    assert judge(FUNCTION, FUNCTION.replace("x + x", "2 * x")) == ""


def test_a_changed_line_that_did_not_run_is_named(judge: Reason) -> None:
    new = FUNCTION.replace("x * 2", "x * 3")
    assert judge(FUNCTION, new, idle={"a.py:3"}) == "a.py:3 of BASE is changed and did not run"
    lower = "# A comment.\n" + new
    assert judge(FUNCTION, lower, idle={"a.py:4"}) == "a.py:4 of HEAD is changed and did not run"


def test_lines_in_another_order_have_to_run(judge: Reason) -> None:
    text = "def f(x):\n    if x > x:\n        x = x * 2\n        x = x + 1\n    return x\n"
    new = text.replace("x * 2", "y").replace("x + 1", "x * 2").replace("y", "x + 1")
    assert judge(text, new, idle={"a.py:3", "a.py:4"}).endswith("is changed and did not run")
    assert judge(text, new) == ""


def test_a_line_that_another_function_has_has_to_run_where_it_was_added(judge: Reason) -> None:
    text = "def f(x):\n    x = x * 2\n    return g(x)\n\n\ndef g(x):\n    return h(x)\n\n\ndef h(x):\n    return x\n"
    new = text.replace("    return h(x)", "    x = x * 2\n    return h(x)")
    assert judge(text, new, idle={"a.py:7"}) == "a.py:7 of HEAD is changed and did not run"


@pytest.mark.parametrize(
    ("old", "new", "gone"),
    [
        ("epoch > 50", "epoch > 60", "50, 60"),
        ("epoch > 0", "epoch > 1", "1"),
        ("epoch > x", "epoch > x + 1", "1"),
        ("epoch // 1000", "epoch // 2000", "1000, 2000"),
        ("x[-3:]", "x[-4:]", "3, 4"),
        ("0.9 ** epoch", "0.8 ** epoch", "0.9, 0.8"),
        ("x / epoch if epoch else 0.5", "x / epoch if epoch else 0.7", "0.5, 0.7"),
        ("g(x, patience=10)", "g(x, patience=20)", "10, 20"),
        ("epoch > 50 and x", "min(epoch, 5) and x", "50, 5"),
    ],
)
def test_a_changed_limit_is_named(judge: Reason, old: str, new: str, gone: str) -> None:
    texts = [f"def f(x, epoch):\n    return {part}\n" for part in (old, new)]
    reason = judge(*texts)
    assert reason == f"a limit changed ({gone}), and may act later than a replay lasts"


def test_a_changed_local_limit_is_named(judge: Reason) -> None:
    text = "def f(x, epoch):\n    last = 50\n    return x if epoch > last else -x\n"
    assert judge(text, text.replace("50", "60")).startswith("a limit changed (50, 60)")


def test_a_changed_default_is_named(judge: Reason) -> None:
    text = "def f(x, epoch, last=50):\n    return x if epoch > last else -x\n"
    assert judge(text, text.replace("50", "60")).startswith("a limit changed (50, 60)")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("epoch > 50", "50 < epoch"),
        ("len(x) > 0", "bool(x)"),
        ("x * 2", "x + x"),
        ("range(0, 5)", "range(5)"),
        ("g(x, 1)", "g(x, dim=1)"),
        ("x ** 2", "x * x"),
    ],
)
def test_numbers_that_are_written_in_another_way_are_fine(judge: Reason, old: str, new: str) -> None:
    texts = [f"def f(x, epoch):\n    return {part}\n" for part in (old, new)]
    assert judge(*texts) == ""
    assert judge(*reversed(texts)) == ""


def test_a_limit_that_gets_a_name_is_fine(judge: Reason) -> None:
    text = "def f(x, epoch):\n    return x if epoch > 50 else x // 7\n"
    named = "LAST = 50\n\n\n" + text.replace("50", "LAST").replace("x // 7", "g(x, by=7)")
    assert judge(text, named, values=({}, {"LAST": "50"})) == ""
    assert judge(named, text, values=({"LAST": "50"}, {})) == ""
    other = named.replace("LAST = 50", "LAST = 60")
    assert judge(text, other, values=({}, {"LAST": "60"})).startswith("a limit changed (50, 60)")


CONSTANT = "LAST = 50\n\n\ndef f(x, epoch):\n    return x if epoch > LAST else -x\n"


def test_a_constant_with_another_value_is_named(judge: Reason) -> None:
    reason = judge(CONSTANT, CONSTANT.replace("50", "60"), values=({"LAST": "50"}, {"LAST": "60"}))
    assert reason == "toy.a.LAST has another value, and acts wherever it is used"


def test_a_constant_that_is_written_in_another_way_is_fine(judge: Reason) -> None:
    values = ({"LAST": "50"}, {"LAST": "50"})
    assert judge(CONSTANT, CONSTANT.replace("50", "5 * 10"), values=values) == ""


def test_each_name_of_a_tuple_is_looked_at(judge: Reason) -> None:
    text = "SHARE, LAST = 0.5, 50\n\n\ndef f(x, epoch):\n    return x if epoch > LAST else SHARE\n"
    values = {"SHARE": "0.5", "LAST": "50"}
    reason = judge(text, text.replace("50", "60"), values=(values, values | {"LAST": "60"}))
    assert reason == "toy.a.LAST has another value, and acts wherever it is used"


def test_a_constant_that_was_renamed_and_changed_is_named(judge: Reason) -> None:
    """All statements that use it have changed, too."""
    new = CONSTANT.replace("LAST", "FINAL").replace("50", "60")
    assert judge(CONSTANT, new, values=({"LAST": "50"}, {"FINAL": "60"})).startswith("a limit changed (50, 60)")
    assert judge(CONSTANT, new.replace("60", "50"), values=({"LAST": "50"}, {"FINAL": "50"})) == ""


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("lambda x: x + 1", "lambda x: x - 1", "{'a': <function <lambda>>}"),
        ("re.compile('a' * 200 + 'b')", "re.compile('a' * 200 + 'c')", f"re.compile('{'a' * 199}"),
        ("torch.tensor(0.123456)", "torch.tensor(0.123459)", "tensor(0.1235)"),
        ("np.arange(2000)", "np.arange(2000) % 999", "array([0, 1, ..., 0, 1])"),
    ],
)
def test_a_constant_that_does_not_print_in_full_is_refused(judge: Reason, old: str, new: str, text: str) -> None:
    texts = [f"LAST = {part}\n\n\ndef f(x):\n    return LAST\n" for part in (old, new)]
    values = ({"LAST": text}, {"LAST": text})
    assert judge(*texts, values=values) == "toy.a.LAST has another value, and acts wherever it is used"


FIELDS = "class Box(NamedTuple):\n    last: int = 50\n\n\ndef f(x):\n    return x if x > Box().last else -x\n"


@pytest.mark.parametrize("hidden", ["'<no value>'", "_tuplegetter(0, 'Alias for field number 0')"])
def test_a_default_that_a_class_does_not_show_is_compared_as_it_is_written(judge: Reason, hidden: str) -> None:
    values = ({"Box.last": hidden}, {"Box.last": hidden})
    assert judge(FIELDS, FIELDS.replace("50", "60"), values=values).startswith("a limit changed (50, 60)")


def test_a_setting_is_compared_as_it_comes_out(judge: Reason) -> None:
    values = ({"Box.last": "'<no value>'"}, {"Box.last": "'<no value>'"})
    assert judge(FIELDS, FIELDS.replace("50", "60"), values=values, settings=("last",)) == ""


def test_variants_of_a_method_may_change(judge: Reason) -> None:
    text = "class Box:\n    variants = {'a': 3}\n\n\ndef f(x):\n    return Box()\n"
    values = ({"Box.variants": "{'a': 3}"}, {"Box.variants": "{'a': 3, 'b': 4}"})
    assert judge(text, text.replace("'a': 3", "'a': 3, 'b': 4"), values=values) == ""


def test_a_changed_file_of_data_is_named(judge: Reason) -> None:
    files = {"a.py": 'def f(x):\n    return open("words.txt")\n', "words.txt": "a\n"}
    reason = judge(files, files | {"words.txt": "a\nb\n"})
    assert reason == "words.txt changed, of which a slice of the data uses a part"


def test_what_runs_on_import_has_to_run(judge: Reason) -> None:
    text = "from elsewhere import table\n\ntable['a'] = 3\n\n\ndef f(x):\n    return x\n"
    reason = judge(text, text.replace("3", "4"), idle={"a.py:3"})
    assert reason == "a.py:3 of BASE is changed and did not run"
