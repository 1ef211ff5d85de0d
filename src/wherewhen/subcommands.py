"""Subcommands that are modules, imported only when they are called."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def parse(
    argv: Sequence[str],
    verb: str,
    description: str | None,
    metavar: str,
    package: str,
    titles: Mapping[str, str],
    common: Callable[[argparse.ArgumentParser], None] | None = None,
) -> argparse.Namespace:
    """The arguments of one subcommand; `run` among them is the function that carries it out.

    Args:
        argv: The words after the verb.
        verb: Of the command line, for the usage.
        description: Of the verb.
        metavar: What the subcommand is called in the usage.
        package: Where the modules lie, each with `add_arguments(parser)` and `run(args)`.
        titles: Module -> what it does.
        common: Adds the options that all subcommands have.
    """
    parser = argparse.ArgumentParser(prog=f"wherewhen {verb}", description=description)
    commands = parser.add_subparsers(required=True, metavar=metavar)
    chosen = next((word for word in argv if word in titles), None)
    for name, title in titles.items():
        command = commands.add_parser(name, help=title, description=title)
        if name == chosen:
            module = import_module(f"{package}.{name.replace('-', '_')}")
            module.add_arguments(command)
            if common is not None:
                common(command)
            command.set_defaults(run=module.run)
    return parser.parse_args(argv)
