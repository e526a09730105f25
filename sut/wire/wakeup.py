"""Interrupts the poll of another thread."""

import os


class Wakeup:
    """Lets any thread interrupt the poll of another (an eventfd).

    A thread that has queued work calls `set`; the poller calls `clear` once `fd` is
    readable, and looks for work after that. A `set` while another stands costs nothing.
    """

    def __init__(self) -> None:
        """Make the descriptor."""
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_set = False

    def set(self) -> None:
        """Make the poll return."""
        if not self._is_set:
            self._is_set = True
            os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        """Forget earlier calls of `set`."""
        # In this order: a `set` between the two lines is seen by the look that follows.
        os.eventfd_read(self.fd)
        self._is_set = False

    def close(self) -> None:
        """Release the descriptor."""
        os.close(self.fd)
