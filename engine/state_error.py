"""What a machine raises when it is to become what no machine can be."""


class StateError(ValueError):
    """A state that no machine can have."""

    def __init__(self, sequence: int, why: str) -> None:
        """`sequence` is the number of the frame that can't stand where it does."""
        super().__init__(f"frame {sequence} of the state: {why}")
