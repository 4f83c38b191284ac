"""From params.yaml to the typed configuration of one cell, and where that departs from the published one."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from rsitr.errors import ParamsError
from rsitr.methods.base import Method, MethodConfig
from rsitr.records.cell import Published


def configure(cls: type[Method], variant: str, settings: dict[str, Any]) -> MethodConfig:
    """Defaults, then variant, then the settings of params.yaml."""
    try:
        return cls.Config.model_validate(cls.variants.get(variant, {}) | settings)
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ParamsError(f"settings of {cls.name}{'@' + variant if variant else ''} are not valid: {lines}") from None


def published_row(cls: type[Method], variant: str, config: MethodConfig) -> Published | None:
    """The published row that a configuration stands for; a row of sentence queries stands for no others."""
    if variant in cls.published:
        return cls.published[variant]
    return cls.published.get("") if config.query == "sentence" else None


def changed_settings(cls: type[Method], variant: str, config: MethodConfig) -> list[str]:
    """Each field in which ``config`` differs from the configuration that the published row stands for."""
    reference = configure(cls, variant, {}).model_dump()
    return [
        f"{name} {value if value != '' else 'none'} instead of {reference[name]}"
        for name, value in config.model_dump().items()
        if value != reference[name]
    ]
