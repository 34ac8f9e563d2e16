"""The network's limit: `tools.bench._raw_c` where it was built, else `tools.bench._raw_py`."""

from typing import TYPE_CHECKING

from feed.kernel import KERNEL_WANTED

if TYPE_CHECKING or not KERNEL_WANTED:
    from tools.bench import _raw_py as _raw
else:
    try:
        from tools.bench import _raw_c as _raw
    except ImportError:
        from tools.bench import _raw_py as _raw

IN_USE = _raw.__name__
BATCH = _raw.BATCH
receive_packets = _raw.receive_packets
send_packets = _raw.send_packets
