"""What the commands about stored results share: where the store is, and what is said about it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xattn.errors import InputError

if TYPE_CHECKING:
    from xattn.bench.record import Result
    from xattn.bench.store import Store

StoreOption = Annotated[
    str | None,
    typer.Option(metavar="FOLDER", help="Where results are kept [default: $XATTN_DATA, or the user's data folder]"),
]


def say(text: str) -> None:
    """A line on standard error, which leaves standard output to results."""
    typer.echo(f"xattn: {text}", err=True)


def opened(store: str | None) -> Store:
    """The store to read from; damaged files in it are named on standard error."""
    from xattn.bench.store import Store

    return Store(None if store is None else Path(store).expanduser(), warn=say)


def opened_for_writing(store: str | None, required: bool) -> Store | None:
    """The store, tried before work begins.

    InputError when it cannot be written and is `required` or was chosen by the user. Otherwise that is said, and the
    work goes on without a store.
    """
    from xattn.bench.store import DATA_VARIABLE

    chosen = opened(store)
    try:
        chosen.require_writable()
    except InputError as error:
        if required or store is not None or os.environ.get(DATA_VARIABLE):
            raise InputError(f"{error}; choose another place with --store, or --no-store") from None
        say(f"the result will not be stored: {error}")
        return None
    return chosen


def save(store: Store | None, result: Result) -> None:
    """Store a result, and say how it is called from now on."""
    if store is not None:
        say(f"stored as {store.save(result)}")
