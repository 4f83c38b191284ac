"""From params.yaml to the typed configuration of one cell, and where that departs from the published one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import ValidationError
from torch import nn

from rsitr.errors import ParamsError
from rsitr.methods.base import Method, MethodConfig, TrainingConfig
from rsitr.params import OF_PLATEAU, REPLACED_BY_PHASES
from rsitr.records.cell import UNCLAIMED, Published


def configure(cls: type[Method], variant: str, settings: dict[str, Any], dataset: str = "") -> MethodConfig:
    """Defaults, what the authors set on ``dataset``, then variant, then the settings of params.yaml."""
    published = cls.of_dataset.get(dataset, {}) | cls.variants.get(variant, {})
    given = published | cls.of_dataset.get(f"{dataset}@{variant}", {}) | settings
    try:
        config = cls.Config.model_validate(given)
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ParamsError(f"settings of {cls.name}{'@' + variant if variant else ''} are not valid: {lines}") from None
    if getattr(config, "choose", "") == "shortlists" and not cls.filters_itself():
        raise ParamsError(f"settings of {cls.name}: it has no cheap score to make shortlists by: choose best or last")
    if isinstance(config, TrainingConfig):
        _check_course(f"settings of {cls.name}{'@' + variant if variant else ''}", config, given)
    return config


def _check_course(what: str, config: TrainingConfig, given: dict[str, Any]) -> None:
    """Raise ``ParamsError`` where a setting of how training goes would be ignored."""
    if config.phases:
        if ignored := [name for name in REPLACED_BY_PHASES if name in given]:
            raise ParamsError(
                f"{what}: its phases have their own {', '.join(ignored)}: set phases: [] to train in one, or state "
                "the phases"
            )
        if config.schedule == "plateau":
            raise ParamsError(
                f"{what}: its phases have a fixed length, and schedule: plateau has none: set phases: [], or another "
                "schedule"
            )
    if config.schedule == "plateau" and config.choose == "last":
        raise ParamsError(
            f"{what}: schedule: plateau goes by the best epoch, and choose: last takes none for better than another: "
            "set choose: best, or another schedule"
        )
    if config.schedule != "plateau" and (ignored := [name for name in OF_PLATEAU if name in given]):
        raise ParamsError(
            f"{what}: only schedule: plateau has {', '.join(ignored)}: set it, or leave {', '.join(ignored)} out"
        )


def settled(cls: type[Method], variant: str, settings: dict[str, Any], dataset: str, own: Collection[str]) -> set[str]:
    """The settings that a variant states itself, so that no tuning of its method changes them.

    ``own`` are those that params.yaml states for it. Phases of its own have rates of their own.
    """
    found = {*own, *cls.variants.get(variant, {}), *cls.of_dataset.get(f"{dataset}@{variant}", {})}
    config = configure(cls, variant, settings, dataset)
    phased = "phases" in found and isinstance(config, TrainingConfig) and config.phases
    return found | {*(REPLACED_BY_PHASES if phased else ())}


def published_row(cls: type[Method], variant: str, config: MethodConfig) -> Published | None:
    """The published row that a configuration stands for, or departs from.

    A variant of the method's own that claims no row has none; settings of params.yaml have the row of the default, if
    they ask the same queries.
    """
    if variant in cls.published:
        return cls.published[variant]
    return None if variant in cls.variants or config.query != "sentence" else cls.published.get("")


def departures(cls: type[Method], config: MethodConfig) -> list[str]:
    """``Method.departures`` of a configuration, without building it: weights that a model leaves out are not known."""
    method = cls.__new__(cls)
    nn.Module.__init__(method)
    method.config = config
    return method.departures


def differences(cls: type[Method], variant: str) -> list[str]:
    """What keeps a variant, in its own configuration, from being compared with a published row."""
    config = configure(cls, variant, {})
    unclaimed = [] if published_row(cls, variant, config) else [UNCLAIMED]
    return departures(cls, config) + unclaimed


def _told(config: TrainingConfig) -> str:
    """The course of a training in words."""
    if config.max_steps is None:
        return ", then ".join(map(str, config.course))
    return f"at most {config.max_steps} steps with {config.optimizer} at {config.learning_rate:g}"


def changed_settings(cls: type[Method], variant: str, config: MethodConfig, dataset: str = "") -> list[str]:
    """Each field in which ``config`` differs from the configuration that the published row on ``dataset`` stands for.

    Where the phases differ, the courses of training stand for all that makes them up.
    """
    reference = configure(cls, variant, {}, dataset)
    ours, theirs = config.model_dump(), reference.model_dump()
    if (
        isinstance(config, TrainingConfig)
        and isinstance(reference, TrainingConfig)
        and config.phases != reference.phases
    ):
        for fields, of in ((ours, config), (theirs, reference)):
            for name in ("phases", *REPLACED_BY_PHASES):
                del fields[name]
            fields["training"] = _told(of)
    return [
        f"{name} {value if value != '' else 'none'} instead of {theirs[name]}"
        for name, value in ours.items()
        if value != theirs[name]
    ]
