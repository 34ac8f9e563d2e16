"""Lists, verifies, exports and repairs the journals of holders, while none of them runs."""
