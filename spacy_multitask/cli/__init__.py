"""The `spacy multitask` commands. spaCy loads this module through its entry point `spacy_cli`."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import shlex
import signal
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from click import ClickException
from spacy.cli._util import app as spacy_app
from spacy.util import logger

app = typer.Typer(
    name="multitask",
    help="Convert corpora for spacy_multitask, and make, train and judge its pipelines.",
    epilog="Example: python -m spacy multitask convert --help",
    no_args_is_help=True,
)

Verbose = Annotated[
    bool, typer.Option("--verbose", "-V", help="Show more messages, and where an error came from.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")]
Code = Annotated[
    Path | None,
    typer.Option(
        "--code", help="Python file to import first, with functions or heads that a config names."
    ),
]
JSON_HELP = (
    'Write the result to this JSON file. "-" prints it, and nothing else, to standard output.'
)
# What ends a command on purpose.
_EXITS = (typer.Exit, typer.Abort, typer.BadParameter)
# Their messages are for users, whoever raised them; of others the type must be known, too.
_PLAIN = (ValueError, OSError, ImportError)


@app.callback()
def multitask() -> None:
    """Convert corpora for spacy_multitask, and make, train and judge its pipelines."""


def command(
    name: str,
    *,
    example: str,
    takes_code: bool = False,
    json_options: tuple[str, ...] = (),
    **settings: Any,
) -> Callable[[Callable], Callable]:
    """Register a function as a command, so that all of them treat help and errors alike.

    Help ends with the example. An error is one line on standard error and exit code 1. The option
    `--verbose`, which the function does not see, lets the traceback through.

    name (str): As in `spacy multitask NAME`.
    example (str): What follows the name on a command line.
    takes_code (bool): Whether there is an option `--code`, whose file is imported beforehand; of
        a function with an argument `code` there is, in any case.
    json_options (Tuple[str, ...]): Options, `--json` among them, that write what the function
        returns.
    settings: Further ones of `typer.Typer.command`.
    RETURNS (Callable): A decorator; the function stays as it is.
    """

    def register(function: Callable) -> Callable:
        own = inspect.signature(function).parameters
        takes_overwrite = "overwrite" in own

        @functools.wraps(function)
        def run(
            *args: Any,
            verbose: bool,
            code: Path | None = None,
            json_path: Path | None = None,
            **kwargs: Any,
        ) -> None:
            overwrite = kwargs.get("overwrite", False)
            if not takes_overwrite:
                kwargs.pop("overwrite", None)
            if "code" in own:
                kwargs["code"] = code
            with _exits(verbose):
                check_is_free(json_path if json_path != Path("-") else None, overwrite=overwrite)
                import_code(code)
                with _giving(json_path) as give:
                    give(function(*args, **kwargs))

        # typer reads the options off the signature.
        hints = typing.get_type_hints(function, include_extras=True)
        parameters = [
            p.replace(annotation=hints[p.name])
            for p in inspect.signature(function).parameters.values()
        ]
        extras: dict[str, Any] = {"code": (Code, None)} if takes_code else {}
        if json_options:
            file = typer.Option(*json_options, dir_okay=False, help=JSON_HELP)
            extras["json_path"] = (Annotated[Path | None, file], None)
            if not takes_overwrite:
                extras["overwrite"] = (Overwrite, False)
        extras["verbose"] = (Verbose, False)
        for extra, (hint, default) in extras.items():
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter(extra, kind, default=default, annotation=hint))
            hints[extra] = hint
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = hints
        epilog = f"Example: python -m spacy multitask {name} {example}"
        app.command(name, epilog=epilog, no_args_is_help=True, **settings)(run)
        return function

    return register


@contextlib.contextmanager
def _exits(verbose: bool) -> Iterator[None]:
    """Turn what is raised within into a line on standard error and an exit code."""
    if verbose:
        logger.setLevel(logging.DEBUG)
    try:
        yield
    except Found as found:
        raise typer.Exit(1) from found
    except _EXITS:
        raise
    except KeyboardInterrupt as error:
        typer.echo("Interrupted.", err=True)
        raise typer.Exit(128 + signal.SIGINT) from error
    except ClickException as error:
        # An option that is none, where overrides of a config are taken, too.
        typer.echo(f"Error: {error.format_message()}", err=True)
        raise typer.Exit(error.exit_code) from error
    except Exception as error:
        if verbose:
            raise
        typer.echo(f"Error: {_message(error)}", err=True)
        raise typer.Exit(1) from error


class Found(Exception):
    """What a command was to fail on is there; its argument is the command's result."""


@contextlib.contextmanager
def _giving(path: Path | None) -> Iterator[Callable[[Any], None]]:
    """YIELDS (Callable): Writes a result as JSON to the path, if there is one. For "-" all else
    that is printed goes to standard error."""
    from wasabi import msg

    from ..plain import to_json
    from ..safe_files import write_json

    stdout = sys.stdout

    def give(result: Any) -> None:
        if path == Path("-"):
            print(to_json(result, indent=2), file=stdout)
        elif path is not None:
            write_json(path, result)
            msg.good(f"Saved to {path}")

    aside = (
        contextlib.redirect_stdout(sys.stderr) if path == Path("-") else contextlib.nullcontext()
    )
    with aside:
        try:
            yield give
        except Found as found:
            give(*found.args)
            raise


def import_code(path: Path | None) -> None:
    """Import what `--code` names, so that the functions in it are registered.

    RAISES (ValueError): If there is no such file, or it can't be run.
    """
    from spacy.util import import_file

    if path is None:
        return
    if not path.is_file():
        raise ValueError(f"--code {path}: there is no such file. Check the path.")
    try:
        import_file("python_code", path)
    except Exception as error:  # whatever the file does
        raise ValueError(f"--code {path}: {type(error).__name__}: {error}") from error


def _message(error: Exception) -> str:
    text = str(error).strip()
    if isinstance(error, _PLAIN) and text:
        return text
    told = f"{type(error).__name__}: {text or 'no message'}."
    return f"{told} Repeat the command with --verbose to see where it came from."


def corpus_paths(items: list[str], option: str = "--corpus") -> dict[str, str]:
    """Read the option `--corpus`, or another of that kind.

    items (List[str]): Each of the form NAME=PATH.
    option (str): Its name, for error messages.
    RETURNS (Dict[str, str]): Paths by name.
    RAISES (ValueError): If one has another form, its path does not exist, or a name comes twice.
    """
    paths: dict[str, str] = {}
    for item in items:
        name, _, path = item.partition("=")
        if not (name and path):
            raise ValueError(f"{option} {item}: give NAME=PATH, such as pos=corpus/pos-test.spacy.")
        if not Path(path).exists():
            raise ValueError(f"{option} {item}: there is no {path}. Check the path.")
        if name in paths:
            raise ValueError(
                f"{option} {item}: the name {name} is taken by {paths[name]}. Give it another name."
            )
        paths[name] = path
    return paths


def check_is_free(*paths: Path | None, overwrite: bool) -> None:
    """See that nothing gets lost.

    paths (Optional[Path]): What a command will write.
    RAISES (ValueError): If there is such a file, or a folder with something in it.
    """
    for path in paths:
        if path is None or overwrite:
            continue
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            raise ValueError(
                f"{path} is already there. Replace it with --overwrite, or choose another name."
            )


def say_next(*words: str | Path) -> None:
    """Say which command comes next, as the last line of one that is done.

    words (str or Path): What follows `python -m spacy`.
    """
    print("Next:", "python -m spacy", *(shlex.quote(str(word)) for word in words))


# Each command is in a file of its own, which registers it with the app above.
from . import (  # noqa: E402
    add_head,  # noqa: F401
    annotate,  # noqa: F401
    calibrate,  # noqa: F401
    compare,  # noqa: F401
    convert,  # noqa: F401
    evaluate,  # noqa: F401
    init_config,  # noqa: F401
    leaks,  # noqa: F401
    look,  # noqa: F401
    merge,  # noqa: F401
    quantize,  # noqa: F401
    report,  # noqa: F401
    split,  # noqa: F401
    suggest,  # noqa: F401
    train,  # noqa: F401
    tune,  # noqa: F401
)

spacy_app.add_typer(app, name="multitask")
