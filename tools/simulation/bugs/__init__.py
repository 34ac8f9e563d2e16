"""The catalogue of bugs that the simulator has to find: mistakes that programmers could make.

Each breaks a rule in a way that no other layer makes up for, so that real harm is possible.
"""

from tools.simulation.bugs.electing import ELECTING
from tools.simulation.bugs.holding import HOLDING
from tools.simulation.bugs.leading import LEADING
from tools.simulation.bugs.machine import MACHINE
from tools.simulation.bugs.reading import READING
from tools.simulation.bugs.serving import SERVING
from tools.simulation.bugs.sharding import SHARDING
from tools.simulation.bugs.storing import STORING
from tools.simulation.bugs.trading import TRADING
from tools.simulation.planted import PlantedBug

CATALOGUE: tuple[PlantedBug, ...] = (
    *LEADING,
    *HOLDING,
    *STORING,
    *READING,
    *MACHINE,
    *ELECTING,
    *SERVING,
    *TRADING,
    *SHARDING,
)
