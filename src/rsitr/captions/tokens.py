"""Tokens of a caption as nltk's ``word_tokenize`` finds them, without any of nltk's trained data."""

from __future__ import annotations

from nltk.tokenize import NLTKWordTokenizer
from nltk.tokenize.punkt import PunktSentenceTokenizer

# Without the trained model of nltk's corpus `punkt`, which knows abbreviations; captions in use have none.
_SENTENCES = PunktSentenceTokenizer()
_TOKENS = NLTKWordTokenizer()


def tokens(caption: str) -> list[str]:
    """Words and punctuation marks in order, case kept: ``A pier. It's long .`` is A pier . It 's long .

    Tokens are found sentence by sentence, since only a full stop at the end of a text is separated from its word.
    """
    return [token for sentence in _SENTENCES.tokenize(caption) for token in _TOKENS.tokenize(sentence)]
