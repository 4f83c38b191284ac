"""How commands tell a user's error."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import typer

from rsitr.errors import Damaged, RsitrError
from rsitr.records.files import set_aside

F = TypeVar("F", bound=Callable[..., Any])


def reported(function: F) -> F:
    """Print an error of the user's as one message and exit with 1, without a traceback."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Damaged as error:
            print(
                f"rsitr: {error}: it is now {set_aside(error.path)}; run again, which makes it again", file=sys.stderr
            )
        except RsitrError as error:
            print(f"rsitr: {error}", file=sys.stderr)
        except OSError as error:
            print(f"rsitr: {error}: check that the folder exists, is writable and has free space", file=sys.stderr)
        raise typer.Exit(1)

    return wrapper  # type: ignore[return-value]
