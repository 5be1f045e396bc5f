"""A connection to a Dask cluster: its workers, what they answer, and what that cost."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import Any

from distributed import CancelledError, Client, Future, KilledWorker, wait

from spec.cells import SpecificationError
from spec.checker.shards import Stale
from spec.codename import code

ADDRESS = re.compile(r"((tcp|tls)://)?[^\s/]+:(\d{1,4}|[1-6]\d{4})")
POLL = 0.5
"""Seconds between two looks at which workers are alive."""
PATIENCE = 10
"""Seconds to wait for a scheduler, or for the first worker."""


class ClusterError(SpecificationError):
    """There is no cluster that can explore this."""


class WorkerLost(Exception):
    """A worker is gone, and what it was to send."""


@dataclass
class Cost:
    """What a cluster was used for.

    Attributes:
        states: by worker, how many states it has stored in the end.
        exchanged: bytes of states and tables that went over the network.
        restarts: how often a level was begun again.
        lost: seconds from their beginnings until they could be begun again.
    """

    states: dict[str, int] = field(default_factory=dict)
    exchanged: int = 0
    restarts: int = 0
    lost: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "states": self.states,
            "bytes_exchanged": self.exchanged,
            "levels_restarted": self.restarts,
            "seconds_lost": round(self.lost, 3),
        }

    def line(self) -> str:
        """The same in words."""
        levels = "level" if self.restarts == 1 else "levels"
        again = f"{self.restarts} {levels} restarted, {self.lost:.1f} s lost"
        stored = ", ".join(f"{n:,} at {w}" for w, n in sorted(self.states.items()))
        return (
            f"cluster: {stored or 'no states, too few to be sent'}; "
            f"{self.exchanged / 1e6:,.1f} MB exchanged; "
            f"{again if self.restarts else 'no level restarted'}"
        )


class Cluster:
    """A connection to a Dask cluster.

    Args:
        address: of its scheduler.

    Attributes:
        cost: of all explorations so far.

    Raises:
        ClusterError: nothing answers there, or the workers cannot be used.
    """

    def __init__(self, address: str) -> None:
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        self.address, self.cost = address, Cost()
        if not ADDRESS.fullmatch(address):
            raise ClusterError(
                f"{address!r} is no address of a Dask scheduler; "
                f"give one such as tcp://HOST:8786"
            )
        try:
            self.client = Client(
                address, timeout=PATIENCE, set_as_default=False, direct_to_workers=True
            )
        except OSError as error:
            raise ClusterError(
                f"no Dask scheduler answers at {address!r}; start one with "
                f"'dask scheduler' and give the address that it prints"
            ) from error
        self.workers()

    def close(self) -> None:
        """Leave the cluster; what its workers hold for this connection is freed."""
        self.client.close()

    def alive(self) -> set[str]:
        """Addresses of the workers that the scheduler knows now."""
        if self.client.status != "running":
            raise ClusterError(f"the scheduler at {self.address!r} is gone")
        return set(self.client.nthreads())

    def workers(self) -> list[str]:
        """Addresses of all workers that answer, after a wait for the first.

        Raises:
            ClusterError: there are none, or one runs other code than this process.
        """
        try:
            self.client.wait_for_workers(1, timeout=PATIENCE)
        except OSError as error:
            raise ClusterError(
                f"the scheduler at {self.address!r} has no workers; start some with "
                f"'dask worker {self.address}'"
            ) from error
        answers = self.client.run(code, on_error="return")
        gone = {w for w, answer in answers.items() if isinstance(answer, OSError)}
        if other := [w for w, a in answers.items() if w not in gone and a != code()]:
            raise ClusterError(
                f"the worker at {other[0]!r} cannot run this version; install the same "
                f"anon-exclusive and the same Python on all machines"
            )
        return sorted(answers.keys() - gone)

    def results(self, futures: list[Future[Any]], party: list[str]) -> list[Any]:
        """What tasks gave.

        Args:
            futures: the tasks.
            party: the workers that take part.

        Raises:
            WorkerLost: one of these is gone.
        """
        try:
            while not self._finished(futures, POLL):
                if not self.alive().issuperset(party):
                    raise WorkerLost
            return self._fetched(futures)
        except (Stale, CancelledError, KilledWorker, OSError) as error:
            self.alive()
            raise WorkerLost from error

    def _finished(self, futures: list[Future[Any]], seconds: float) -> bool:
        try:
            with self.client.as_current():
                wait(futures, timeout=seconds)
        except TimeoutError:
            return False
        return True

    def _fetched(self, futures: list[Future[Any]]) -> list[Any]:
        """Results of finished tasks; a worker that does not send them is lost."""
        return [future.result(timeout=60 * PATIENCE) for future in futures]
