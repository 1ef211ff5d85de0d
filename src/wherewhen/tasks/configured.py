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
    said = _said(words)
    own = Run(said.run).config
    return [*(["--config", str(own)] if said.config is None and own.is_file() else []), *words]


def begun_or_new(words: Sequence[str]) -> list[str]:
    """The same; for a new run of which only the store is said, the configuration that `wherewhen init` writes.

    Args:
        words: Of a command line. Where they name an encoder, they say all themselves.

    Raises:
        UserError: The store has nothing to learn.
    """
    said = _said(words)
    if said.config is not None or any(re.match(r"--model(=|$|\.encoder\b)", word) for word in words):
        return list(words)
    if said.store is None or Run(said.run).config.is_file():
        return begun(words)
    store = PatchStore.open(said.store)
    return ["--config", init.configuration(store, init.look(store, None), init.machine()), *words]


def _said(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-c", "--config")
    parser.add_argument("--run", default="runs/run")
    parser.add_argument("--data.store", dest="store", type=Path)
    return parser.parse_known_args(words)[0]
