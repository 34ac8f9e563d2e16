"""Many frames in one call: `feed._frames_c` where it was built, else `feed._frames_py`."""

from typing import TYPE_CHECKING

from feed._frames_py import BatchScan, GroupScan, PacketScan, Summary
from feed.kernel import KERNEL_WANTED

if TYPE_CHECKING or not KERNEL_WANTED:
    from feed import _frames_py as _frames
else:
    try:
        from feed import _frames_c as _frames
    except ImportError:
        from feed import _frames_py as _frames

__all__ = ["BatchScan", "GroupScan", "PacketScan", "Summary"]

IN_USE = _frames.__name__
cut_frames = _frames.cut_frames
encode_packets = _frames.encode_packets
read_frames = _frames.read_frames
scan_batch = _frames.scan_batch
scan_frames = _frames.scan_frames
scan_packet = _frames.scan_packet
summarize = _frames.summarize
whole_groups = _frames.whole_groups
whole_submissions = _frames.whole_submissions
