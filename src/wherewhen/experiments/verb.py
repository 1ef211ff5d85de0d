"""`wherewhen experiment NAME …`: many trainings, one answer."""

import shlex
from collections.abc import Sequence

from wherewhen import subcommands

# An experiment is a module of this package with `add_arguments(parser)` and `run(args)`, imported when asked for.
EXPERIMENTS = {
    "leaderboard": "methods × label budgets × seeds × splits × stores",
    "algorithms": "Table 1 of the ST-SSL paper: seven algorithms, alone and inside ST-SSL",
    "ablations": "Table 2: what each part of ST-SSL is worth",
    "shift": "Table 3: student and teacher told of other places and times, and in another region",
    "budgets": "Table 4 and Figure 3: supervised, FixMatch and ST-SSL over label budgets",
    "transfer": "SACo's table: five pre-trainings, and what they are worth for three tasks",
}


def main(argv: Sequence[str]) -> int:
    """Run `wherewhen experiment`; returns the exit code.

    Raises:
        UserError: Something in the call cannot work.
    """
    args = subcommands.parse(argv, "experiment", __doc__, "NAME", "wherewhen.experiments", EXPERIMENTS)
    args.command = shlex.join(["wherewhen", "experiment", *argv])
    return int(args.run(args))
