"""The one exception for what a user can mend."""


class UserError(Exception):
    """A mistake in input, configuration or environment that the user can mend.

    The message names the file or value, the rule it breaks, and the remedy. The command line prints
    it without a traceback and exits with code 2.
    """
