"""What a verb takes for its configuration where the command line names none."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from wherewhen import init
from wherewhen.store import PatchStore
from wherewhen.tasks.run import Run


def begun(words: Sequence[str]) -> list[str]:
    """The words, led by the configuration of the run that they name, if it has one and they name none.

    Args:
        words: Of a command line.
    """
    named = said(words)
    own = Run(named.run).config
    return [*(["--config", str(own)] if named.config is None and own.is_file() else []), *words]


def begun_or_new(words: Sequence[str]) -> list[str]:
    """The same; for a new run of which only the store is said, the configuration that `wherewhen init` writes.

    Args:
        words: Of a command line. Where they name an encoder, they say all themselves.

    Raises:
        UserError: The store has nothing to learn.
    """
    named = said(words)
    if named.config is not None or any(re.match(r"--model(=|$|\.encoder\b)", word) for word in words):
        return list(words)
    if named.store is None or Run(named.run).config.is_file():
        return begun(words)
    store = PatchStore.open(named.store)
    return ["--config", init.configuration(store, init.look(store, None), init.machine()), *words]


def said(words: Sequence[str]) -> argparse.Namespace:
    """What a command line says of `config`, `run`, `mirror` and `store`; None where it says nothing."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-c", "--config")
    parser.add_argument("--run", default="runs/run")
    parser.add_argument("--mirror")
    parser.add_argument("--data.store", dest="store", type=Path)
    return parser.parse_known_args(words)[0]
