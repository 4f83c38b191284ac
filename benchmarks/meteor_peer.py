"""The peer of our METEOR, pycocoevalcap, which asks the authors' Java program for one pair after the other."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pycocoevalcap
from pycocoevalcap.meteor.meteor import METEOR_JAR, Meteor

Pair = tuple[str, Sequence[str]]
"""A caption and the captions of an image."""
PACKAGE = Path(next(iter(pycocoevalcap.__path__))) / "meteor"
UTF_8 = "-Dfile.encoding=UTF-8"
"""The program reads what the locale says, and rarely is that told to a service or a container."""
FLAGS = ("-Xmx2G", "-", "-", "-stdio", "-l", "en", "-norm")


def java_is_missing() -> str:
    """Why the peer cannot run here, or an empty string."""
    return "" if shutil.which("java") else "java is not installed, and pycocoevalcap's METEOR is a Java program"


def java_meteor(pairs: Sequence[Pair]) -> npt.NDArray[np.float64]:
    """[N]: METEOR of each pair, as ``compute_score`` of pycocoevalcap's ``Meteor`` gives it.

    White space becomes single spaces, since a line break would end the request.
    """
    with patch.dict(os.environ, JAVA_TOOL_OPTIONS=UTF_8):
        scorer = Meteor()
    references = {number: [_one_line(text) for text in texts] for number, (_, texts) in enumerate(pairs)}
    captions = {number: [_one_line(caption)] for number, (caption, _) in enumerate(pairs)}
    return np.array(scorer.compute_score(references, captions)[1])


def jar_meteor(pairs: Sequence[Pair], paraphrases: Path) -> npt.NDArray[np.float64]:
    """The same from the program itself, with a paraphrase table of one's own: the usual one takes seconds to load."""
    command = ["java", UTF_8, *FLAGS[:1], "-jar", METEOR_JAR, *FLAGS[1:], "-a", str(paraphrases)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=PACKAGE, encoding="utf-8", **pipes) as program:  # type: ignore[call-overload]

        def ask(request: str) -> str:
            program.stdin.write(f"{request}\n")
            program.stdin.flush()
            return program.stdout.readline().strip()

        scores = []
        for caption, references in pairs:
            texts = [_one_line(text) for text in (*references, caption)]
            scores.append(float(ask(f"EVAL ||| {ask(' ||| '.join(['SCORE', *texts]))}")))
            program.stdout.readline()  # the score of all pairs together, which are this one
        program.stdin.close()
    return np.array(scores)


def _one_line(text: str) -> str:
    return " ".join(text.split())
