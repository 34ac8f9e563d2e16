"""The gateway's busiest steps: compiled where that was built, else their twins in plain Python.

`take_orders` takes what a client sent, `tell` what the list tells clients; what they do stands in
`gateway._orders_py` and `gateway._streams_py`.
"""

from typing import TYPE_CHECKING

from feed.kernel import KERNEL_WANTED
from gateway._orders_py import Taken
from gateway._streams_py import Told

if TYPE_CHECKING or not KERNEL_WANTED:
    from gateway import _orders_py as _orders
    from gateway import _streams_py as _streams
else:
    try:
        from gateway import _orders_c as _orders
        from gateway import _streams_c as _streams
    except ImportError:
        from gateway import _orders_py as _orders
        from gateway import _streams_py as _streams

__all__ = ["Taken", "Told"]

IN_USE = (_orders.__name__, _streams.__name__)
take_orders = _orders.take_orders
tell = _streams.tell
