"""Takes in the records of engine steps that replicas send."""

import time
from contextlib import suppress

from sut.clusters.base import Cluster
from sut.coordinator.dispatcher import UnexpectedAnswer
from sut.coordinator.recorder import RunRecorder
from sut.coordinator.replica import Replica, State
from sut.coordinator.replicas import ReplicaManager
from sut.wire.messages import Steps
from sut.wire.sockets import CoordinatorSocket

_LAST_S = 3.0
"""Seconds that replicas have to send their last records, once they were stopped."""
_POLL_S = 0.05


class StepIntake:
    """Records engine steps; fences a replica that sends something else."""

    def __init__(self, replicas: ReplicaManager, recorder: RunRecorder) -> None:
        """Take in what `replicas` send."""
        self._replicas = replicas
        self._recorder = recorder

    def take(self, replica: Replica, message: Steps) -> None:
        """Take in what the engine of `replica` did in the last second."""
        if replica.state is not State.READY:
            self._replicas.fence(replica, "sent engine steps before it was ready")
            return
        try:
            self._recorder.steps(replica, message)
        except UnexpectedAnswer as error:
            self._replicas.fence(replica, f"sent wrong engine steps: {error}")

    def take_last(self, socket: CoordinatorSocket, cluster: Cluster) -> None:
        """Take in what replicas send before they leave; other messages are dropped."""
        deadline = time.monotonic() + _LAST_S
        open_ = {r.number for r in self._replicas.active() if r.state is State.READY}
        while open_ and time.monotonic() < deadline:
            socket.poll(_POLL_S)
            exited = set(cluster.exited())
            while (received := socket.receive()) is not None:
                replica = self._replicas.with_identity(received[0])
                message = received[1]
                if replica is None or not isinstance(message, Steps):
                    continue
                with suppress(UnexpectedAnswer):
                    self._recorder.steps(replica, message)
                if message.last:
                    open_.discard(replica.number)
            open_ -= exited
