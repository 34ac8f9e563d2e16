"""CRC-32C in plain Python."""

from crcmod.predefined import mkPredefinedCrcFun

crc32c = mkPredefinedCrcFun("crc-32c")
