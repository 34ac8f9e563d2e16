"""Where the symbols and clients of a simulated exchange are, and how gateways come to know it."""

from collections.abc import Callable
from functools import partial

from tools.simulation.network import Network, Process
from tools.simulation.world import MILLISECOND_NS
from zk.directory import Directory

# As long as a watch of a ZooKeeper server that is behind takes at most, about.
LONGEST_DELAY_NS = 150 * MILLISECOND_NS

Hear = Callable[[Directory], None]


class Places:
    """The directory, of which those who follow it hear late, and of the newest one only."""

    def __init__(self, network: Network, directory: Directory) -> None:
        self.directory = directory
        self._network = network
        self._followers: dict[Process, tuple[int, Hear]] = {}  # with the life that follows
        self._heard: dict[Process, Directory] = {}  # the last that each has been told of

    def follow(self, process: Process, hear: Hear) -> Directory:
        """Be told of changes, in this life of the process; what is so now."""
        self._followers[process] = process.life, hear
        self._heard[process] = self.directory
        return self.directory

    @property
    def is_known(self) -> bool:
        """Whether all who follow it have heard of the newest one."""
        return all(
            self._heard[process] == self.directory
            for process, (life, _) in self._followers.items()
            if process.runs and process.life == life
        )

    def change(self, directory: Directory) -> None:
        """It is like this now."""
        if directory == self.directory:
            return
        self.directory = directory
        for process, (life, hear) in self._followers.items():
            self._tell_later(process, life, hear)

    def _tell_later(self, process: Process, life: int, hear: Hear) -> None:
        delay_ns = self._network.random.randrange(LONGEST_DELAY_NS) + process.lag_ns
        self._network.after(delay_ns, partial(process.do, life, partial(self._tell, process, hear)))

    def _tell(self, process: Process, hear: Hear) -> None:
        if process.reaches_zookeeper:
            self._heard[process] = self.directory
            hear(self.directory)
        else:
            self._tell_later(process, process.life, hear)
