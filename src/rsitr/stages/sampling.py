"""Which settings a tuning tries next, and which trials it gives up, by Optuna.

Nothing of Optuna's outlives a call. A study is made of the trials so far each time, and what is drawn is a function of
these and of a seed, so that a tuning that was killed goes on as if it had not been.
"""

from __future__ import annotations

import json
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
WARM_UP = 1
"""Epochs after which no trial is given up yet."""
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


def hopeless(trials: Iterable[Trial], merits: Sequence[float]) -> bool:
    """Whether a trial whose epochs so far have ``merits`` is to be given up: its best is below the median of the others
    after as many epochs."""
    pruner = MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=WARM_UP)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for trial in trials:
        if trial.status == COMPLETE:
            study.add_trial(create_trial(value=trial.merit, intermediate_values=dict(enumerate(trial.merits))))
    asked = study.ask()
    for epoch, merit in enumerate(merits):
        asked.report(merit, epoch)
    return bool(asked.should_prune())


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
