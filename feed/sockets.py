"""Many datagrams in one call: `feed._sockets_c` where it was built, else `feed._sockets_py`."""

from typing import TYPE_CHECKING

from feed._sockets_py import Sent
from feed.kernel import KERNEL_WANTED

if TYPE_CHECKING or not KERNEL_WANTED:
    from feed import _sockets_py as _sockets
else:
    try:
        from feed import _sockets_c as _sockets
    except ImportError:
        from feed import _sockets_py as _sockets

__all__ = ["Sent"]

IN_USE = _sockets.__name__
DatagramReader = _sockets.DatagramReader
send_datagrams = _sockets.send_datagrams
