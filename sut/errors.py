"""Why a run could not go on."""


class Aborted(Exception):
    """The run ended before its time: exit code 3. The message is one line."""
