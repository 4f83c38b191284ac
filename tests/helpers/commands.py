"""Commands of `rsitr`, run in this process."""

from __future__ import annotations

from typer.testing import CliRunner

from rsitr.cli import app


def run(*arguments: str):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refused(*arguments: str) -> str:
    """The message of a command that ends with status 1."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("rsitr: ")
    assert "Traceback" not in result.stderr
    return result.stderr
