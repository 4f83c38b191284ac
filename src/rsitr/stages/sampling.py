"""Which settings a tuning tries next, and which trials it gives up, by Optuna.

Nothing of Optuna's outlives a call. A study is made of the trials so far each time, and what is drawn is a function of
these and of a seed, so that a tuning that was killed goes on as if it had not been.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from rsitr.params.tuning import Choices, Range, Space
from rsitr.records.tuning import COMPLETE, PRUNED, Trial

STARTUP = 4
"""So many trials are drawn at random, and none is given up before so many are complete."""
MARKS = 4
"""How often trials are compared: after every quarter of the most steps, so that those of another batch are compared
after as many steps and not after as many epochs."""
WARM_UP = 2
"""The first mark after which a trial may be given up: half of the steps let a low learning rate show what it can."""
DIGITS = 3
"""Significant ones of a number that is drawn."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


def draw(space: Space, trials: Iterable[Trial], seed: int) -> dict[str, Any]:
    """Settings for the next trial after ``trials``, by the tree-structured Parzen estimator.

    A trial with settings outside the space, as those given may be, does not count. One that diverged or failed counts
    as the worst.
    """
    distributions = {name: _distribution(domain) for name, domain in space.items()}
    study = optuna.create_study(direction="maximize", sampler=TPESampler(n_startup_trials=STARTUP, seed=seed % 2**32))
    for trial in trials:
        parameters = {name: _place(domain, trial.settings[name]) for name, domain in space.items()}
        if None in parameters.values():
            continue
        ended = trial.status == COMPLETE
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if ended else TrialState.PRUNED,
                value=trial.merit if ended else None,
                params=parameters,
                distributions=distributions,
                intermediate_values=dict(enumerate(trial.merits)) if trial.status in (COMPLETE, PRUNED) else {},
            )
        )
    found = study.ask(distributions).params
    return {name: _value(domain, found[name]) for name, domain in space.items()}


def hopeless(trials: Iterable[Trial], merits: Sequence[float], steps_per_epoch: float, most: int) -> bool:
    """Whether a trial whose epochs so far have ``merits`` is to be given up: its best is below the median of the best
    of the others after as many of the ``most`` steps."""
    pruner = MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=WARM_UP)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for trial in trials:
        if trial.status == COMPLETE:
            marks = _marks(trial.merits, trial.steps / len(trial.merits), most)
            study.add_trial(create_trial(value=trial.merit, intermediate_values=marks))
    asked = study.ask()
    for mark, merit in _marks(merits, steps_per_epoch, most).items():
        asked.report(merit, mark)
    return bool(asked.should_prune())


def _marks(merits: Sequence[float], steps_per_epoch: float, most: int) -> dict[int, float]:
    """By the number of each mark that a trial has reached, the best of its epochs until then, the last one whole."""
    epochs = {mark: math.ceil(mark * most / MARKS / steps_per_epoch) for mark in range(1, MARKS + 1)}
    return {mark: max(merits[:ended]) for mark, ended in epochs.items() if ended <= len(merits)}


def _distribution(domain: Range | Choices) -> BaseDistribution:
    """Of a number, or of the place of a choice: a choice may be anything."""
    if isinstance(domain, Choices):
        return CategoricalDistribution(range(len(domain.choices)))
    if isinstance(domain.low, int) and isinstance(domain.high, int):
        return IntDistribution(domain.low, domain.high, log=domain.log)
    return FloatDistribution(domain.low, domain.high, log=domain.log)


def _place(domain: Range | Choices, value: Any) -> Any:
    """A value as its distribution has it; None if it is not in the domain."""
    if isinstance(domain, Choices):
        texts = [json.dumps(choice) for choice in domain.choices]
        return texts.index(json.dumps(value)) if json.dumps(value) in texts else None
    return value if isinstance(value, int | float) and domain.low <= value <= domain.high else None


def _value(domain: Range | Choices, place: Any) -> Any:
    """The reverse of ``_place``; a number with few digits."""
    if isinstance(domain, Choices):
        return domain.choices[place]
    return place if isinstance(place, int) else min(max(float(f"{place:.{DIGITS}g}"), domain.low), domain.high)
