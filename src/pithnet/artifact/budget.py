"""How much work a file may ask of its reader: a hundred bytes can stand for hours."""

from __future__ import annotations

from pithnet.errors import ArtifactError

MAX_ELEMENTS = 1 << 28  # 1 GiB as float32, twice the largest network of the zoo
SMALL = 1 << 20  # bytes of a file that may take as much as any of its size or smaller
OF_SMALL, PER_BYTE = 90_000_000, 150


class Budget:
    """The work that reading a file may take, in units of about ten nanoseconds.

    A file of up to SMALL bytes may take OF_SMALL units, which is less than a second; a larger one may take
    PER_BYTE for each byte. A caller who allows more elements than MAX_ELEMENTS allows as many times as much.

    Args:
        size: Bytes of the file.
        max_elements: The most elements that the caller allows.
    """

    def __init__(self, size: int, max_elements: int = MAX_ELEMENTS) -> None:
        self.size = size
        self.spent = 0
        self.most = allowance(size) * max(max_elements, MAX_ELEMENTS) // MAX_ELEMENTS

    def spend(self, units: int) -> None:
        """Counts work that is about to be done.

        Raises:
            ArtifactError: With it the file takes more than it may.
        """
        self.spent += units
        if self.spent > self.most:
            raise ArtifactError(
                f"takes more work than a file of {self.size} bytes may; if you trust it, read it with "
                f"max_elements={8 * MAX_ELEMENTS}"
            )


class Meter(Budget):
    """A budget that counts, and refuses nothing: it tells the encoder whether a reader will."""

    def spend(self, units: int) -> None:
        self.spent += units


def allowance(size: int) -> int:
    """Returns how much work a file of so many bytes may take."""
    return OF_SMALL if size <= SMALL else PER_BYTE * size
