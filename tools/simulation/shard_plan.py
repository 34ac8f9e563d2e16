"""What a seed draws beyond one shard: how many there are, where everything is, and what moves.

Drawn apart from the rest of the plan, which is the same for a seed with one shard.
"""

from dataclasses import dataclass, replace
from random import Random

from feed.messages import unpad
from tools.simulation.scene import Fault
from tools.simulation.shard import CACHE_BYTES, FURTHER_INSTRUMENTS, SHARD, Shape
from tools.simulation.shard_faults import SHARD_FAULTS
from zk.directory import Directory

TWO_SHARES, THREE_SHARES = 1 / 3, 0.05  # of the seeds
# Replicas and retransmitters of the further shards: few, so that they cost little.
HOLDERS = ((2, 1), (2, 1), (1, 2), (3, 2))


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """The further shards of an exchange, and what becomes of all of them."""

    shapes: tuple[Shape, ...] = ()
    directory: Directory | None = None
    later: Directory | None = None  # shards that are added after the first round
    cuts_off: int | None = None  # a shard that is cut off for a while, and nothing else goes wrong
    faults: tuple[Fault, ...] = ()


def draw_shards(random: Random, first: Shape) -> ShardPlan:
    """A plan for an exchange whose first shard this is."""
    luck = random.random()
    if luck >= TWO_SHARES + THREE_SHARES:
        return ShardPlan()
    numbers: tuple[int, ...] = (SHARD, 2, 3) if luck < THREE_SHARES else (SHARD, 2)
    shapes = tuple(_shape(random, first, number) for number in numbers[1:])
    homes = numbers
    if random.random() < 0.4:
        homes = tuple(sorted(random.sample(numbers, random.randint(1, len(numbers)))))
    if SHARD not in homes:  # the exchange began with it
        homes = (SHARD, *homes)
    symbols = {
        unpad(instrument.symbol): (shape.number,)
        for shape in (first, *shapes)
        for instrument in shape.instruments
    }
    whole = Directory(numbers, homes, symbols, {})
    begins = whole
    if random.random() < 0.5:
        begins = Directory(
            homes, homes, {name: at for name, at in symbols.items() if at[0] in homes}, {}
        )
    whole.check()
    begins.check()
    return ShardPlan(
        shapes,
        begins,
        later=None if begins == whole else whole,
        cuts_off=random.choice((None, None, *numbers)),
        faults=tuple(random.sample(SHARD_FAULTS, random.randint(1, len(SHARD_FAULTS)))),
    )


def _shape(random: Random, first: Shape, number: int) -> Shape:
    replicas, retransmitters = random.choice(HOLDERS)
    shape = replace(
        first,
        number=number,
        replicas=replicas,
        retransmitters=retransmitters,
        subscribers=1,
        gateways=0,
        clients=0,
        instruments=FURTHER_INSTRUMENTS[number],
        hosts=(),
        without_journal=(),
    )
    if random.random() < 0.3:  # then all of the list has to be in memory
        return replace(shape, disk=None, cache_bytes=CACHE_BYTES)
    return shape
