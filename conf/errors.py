"""The one exception that stands for a mistake of the user."""


class UserError(Exception):
    """Bad input or configuration: shown as one line, exit code 2.

    The message says what is wrong, where, and what to do about it.
    """
