"""What commands share: how a user's error is told, tables on the console, how cells and experiments are named."""

from __future__ import annotations

import functools
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from rsitr.cli.home import Project, enter
from rsitr.errors import Damaged, MissingExtra, ParamsError, RsitrError
from rsitr.params import Params, load_params, no_project
from rsitr.params.ids import CellId, Dedup, SplitProtocol
from rsitr.pipeline.specs import open_params
from rsitr.progress import by_reason
from rsitr.records.files import set_aside

F = TypeVar("F", bound=Callable[..., Any])
ANY_WIDTH = 100_000
CellArgument = Annotated[
    str, typer.Argument(metavar="EXPERIMENT/DATASET/METHOD/SEED", help="The cell, e.g. demo/scenes-a/vse/0.")
]
ExperimentArgument = Annotated[str | None, typer.Argument(help="Default: the experiment that params.yaml chooses.")]
ExperimentOption = Annotated[str | None, typer.Option("--experiment", help="Of params.yaml. Default: the chosen one.")]
DatasetOption = Annotated[
    str | None, typer.Option("--dataset", help="What it was trained on. Default: the experiment's first.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Of the training.")]
SplitOption = Annotated[SplitProtocol, typer.Option("--split-protocol", help="Which images are train and val.")]
DedupOption = Annotated[Dedup, typer.Option("--dedup", help="The rule by which near duplicates leave training.")]
BandsOption = Annotated[
    str, typer.Option("--bands", help="Bands to show as R,G,B, or one as grey, from 1; as declared by default.")
]
NodataOption = Annotated[
    float | None, typer.Option("--nodata", help="Value of pixels without data; as declared by default.")
]
ThreadsOption = Annotated[int, typer.Option("--threads", min=1, help="Threads to divide the work among.")]


class Commands(typer.Typer):
    """Commands that print an error of the user's as one message and exit with 1, without a traceback."""

    def __init__(self, *, project: Project = "needed", extra: str = "", **options: Any):
        """``project``: whether they need a project folder; ``extra``: which one of the package they are in.

        A command may say otherwise. The name of an extra in that of a command need not be stated.
        """
        super().__init__(**options)
        self.project, self.extra = project, extra

    def command(
        self, name: str | None = None, *, project: Project | None = None, extra: str = "", **options: Any
    ) -> Callable[[F], F]:
        """Add a function; returns it as it is called from the command line."""
        register = super().command(name, **options)
        return lambda function: register(_reported(function, project or self.project, extra or self.extra))


def _reported(function: F, project: Project, extra: str) -> F:
    @functools.wraps(function)
    def wrapper(*args: Any, context: typer.Context, **kwargs: Any) -> Any:
        try:
            return function(*args, **enter(project, context, kwargs))
        except MissingExtra as error:
            print(error.said_of(" ".join(["rsitr", *context.command_path.split()[1:]]), extra), file=sys.stderr)
        except Damaged as error:
            if _of_the_machine(error.__context__):
                print(f"rsitr: {error.path} cannot be read ({error.what}): the file stays as it is", file=sys.stderr)
                raise typer.Exit(1) from None
            print(
                f"rsitr: {error}: it is now {set_aside(error.path)}; run again, which makes it again", file=sys.stderr
            )
        except RsitrError as error:
            print(f"rsitr: {error}", file=sys.stderr)
            if "`snakemake " in str(error) and (wrong := no_project()):
                print(f"rsitr: {wrong}", file=sys.stderr)
        except OSError as error:
            print(f"rsitr: {error}: check that the folder exists, is writable and has free space", file=sys.stderr)
        raise typer.Exit(1)

    return _wanting_context(wrapper, function)


def _of_the_machine(cause: BaseException | None) -> bool:
    """Whether a file could not be read for want of memory, or of what else the system grants, so that it may be whole.

    Errors of the file itself have no number, and in pyarrow a kind: a thread that cannot be started has neither.
    """
    unknown = type(cause).__name__ == "ArrowException"
    return unknown or isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno is not None)


def _wanting_context(wrapper: Any, function: F) -> F:
    """Typer reads from the signature of a function that it is to pass its context."""
    signature = inspect.signature(function, eval_str=True)
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    wrapper.__signature__ = signature.replace(parameters=[*signature.parameters.values(), context])
    wrapper.__annotations__ = {**function.__annotations__, "context": typer.Context}
    return wrapper


def show(table: Table) -> None:
    """Print a table as wide as the terminal; into a pipe or a file one line a row, so that ``grep`` finds all of it.

    Nothing is cut: what is wider than its column goes on below.
    """
    table.title_justify = "left"
    for column in table.columns:
        column.overflow = "fold"
    console = Console()
    (console if console.is_terminal else Console(width=ANY_WIDTH)).print(table)


def left_out(reasons: Iterable[str]) -> str:
    """How much was left out, by reason: ``3 of 100 left out (2 x missing image, 1 x flat)``.

    ``reasons`` has a text for everything there was, which is empty for what was not left out.
    """
    every = [*reasons]
    counts = Counter(filter(None, every))
    why = by_reason(counts)
    return f"{counts.total():,} of {len(every):,} left out" + (f" ({why})" if why else "")


def numbers_of(bands: str) -> list[int] | None:
    """Numbers of bands as the command line has them, or None; raises ``ParamsError`` for anything else."""
    if not bands:
        return None
    numbers = bands.split(",")
    if len(numbers) not in (1, 3) or not all(number.isdecimal() and int(number) for number in numbers):
        raise ParamsError(f"bands {bands!r}: give three numbers such as 4,3,2, or one for grey")
    return [int(number) for number in numbers]


def cell_id(text: str) -> CellId:
    """The cell of that name; raises ``ParamsError`` for what names none."""
    parts = text.split("/")
    if len(parts) != 4 or not parts[3].isdecimal():
        raise ParamsError("name a cell as EXPERIMENT/DATASET/METHOD/SEED, e.g. demo/scenes-a/vse/0")
    return CellId(parts[0], parts[1], parts[2], int(parts[3]))


def asked(method: str, experiment: str | None, dataset: str | None, seed: int) -> tuple[Params, CellId]:
    """Parameters and the cell of a method, by default in the chosen experiment and on its first dataset."""
    params = load_params()
    experiment = experiment or params.experiment
    return params, CellId(experiment, dataset or params[experiment].datasets[0], method, seed)


def opened(name: str | None) -> tuple[Params, str]:
    """Parameters and the name of an experiment; raises ``ParamsError`` for what is wrong with them."""
    params = load_params()
    name = name or params.experiment
    return open_params(params.model_dump() | {"experiment": params[name] and name}), name
