"""Words as METEOR counts them; every expectation is what the jar's normaliser gives."""

from __future__ import annotations

import pytest

from rsitr.captions.meteor.normalizer import Normalizer

NORMALIZER = Normalizer({"Mr": False, "No": True})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Many green Trees , and a building .", "many green trees , and a building ."),
        ("a T-shaped road; it's 2 lanes", "a t shaped road ; it 's 2 lanes"),
        ("don't touch the boats' masts 'now'", "don 't touch the boats ' masts ' now '"),
        ("built in the 1990's and 5's", "built in the 1990 's and 5 's"),
        ("1,000 cars, 3.5 m, a,b,c 1,x", "1,000 cars , 3.5 m , a , b,c 1 , x"),
        ("well...known .. yes.... no", "well ... known .. yes .... no"),
        ("the U.S.-based firm e.g. Inc. here", "the us based firm eg inc. here"),
        ("ask Mr. Smith about No. 5 and No. X", "ask mr. smith about no. 5 and no . x"),
        ("a road. Cars. go.", "a road . cars. go ."),
        ("“quoted” ‘single’ ''double'' `tick`", "\" quoted \" ' single ' \" double \" ' tick '"),
        ("a – b -- c—d", "a - b - c — d"),
        ("façade Ünder Приве́т 日本 😀", "façade ünder приве \u0301 т 日 本 😀"),
        ("a\u00a0b\u3000c\u2009d", "a b c d"),
        ("(50% & $3/m²)", "( 50 % & $ 3 / m ² )"),
        ("one\ttwo\nthree\x0cfour\x0bfive", "one two three four\x0bfive"),
        ("...", "..."),
        ("!? ;", "! ? ;"),
        ("DOTMULTI.", ".."),
        ("", ""),
        ("  \t\n ", ""),
        ("\u00a0", ""),
    ],
)
def test_words(text, expected):
    assert NORMALIZER.words(text) == [word for word in expected.split(" ") if word]
