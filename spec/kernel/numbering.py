"""Names for pages that mean the same on the kernel and on a model."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

Frame = TypeVar("Frame", bound=Hashable)


class Numbering(Generic[Frame]):  # noqa: UP046 (guests may have an older Python)
    """Numbers pages by first appearance.

    A frame that nobody showed the last time is a new page: a frame that was freed
    is often used again at once, so its address says nothing.

    >>> numbering = Numbering()
    >>> for frames in (["p1"], ["p1", "p2"], ["p2"], ["p1", "p2"]):
    ...     numbering.look(frames)
    ...     [numbering[frame] for frame in frames]
    [1]
    [1, 2]
    [2]
    [3, 2]
    """

    def __init__(self) -> None:
        self.numbers: dict[Frame, int] = {}
        self.seen = 0

    def look(self, frames: Iterable[Frame]) -> None:
        """Take note of all the frames that are in sight now, in order."""
        numbers = {}
        for frame in dict.fromkeys(frames):
            if frame in self.numbers:
                numbers[frame] = self.numbers[frame]
            else:
                self.seen += 1
                numbers[frame] = self.seen
        self.numbers = numbers

    def __getitem__(self, frame: Frame) -> int:
        return self.numbers[frame]

    def copy(self) -> Numbering[Frame]:
        """A numbering that goes on from here by itself."""
        made = Numbering[Frame]()
        made.numbers, made.seen = self.numbers, self.seen
        return made
