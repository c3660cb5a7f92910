"""Memory of keys and values in blocks, which requests with equal beginnings share.

A block that nobody holds keeps its content until it is taken, the longest unused first. Full blocks are found
again by a key: of what their tokens are, with all before them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence


class KvBlocks:
    """``count`` blocks of ``tokens`` tokens each; with ``reuse`` their contents are found again."""

    def __init__(self, count: int, tokens: int, reuse: bool = True) -> None:
        self.count, self.tokens, self.reuse = count, tokens, reuse
        self.free: OrderedDict[int, None] = OrderedDict.fromkeys(range(count))
        """Blocks that nobody holds, the next one to be taken first."""
        self.users = [0] * count
        """Requests that hold each."""
        self._of_key: dict[Hashable, int] = {}
        self._key_of: dict[int, Hashable] = {}

    def needed(self, tokens: int) -> int:
        """Blocks that so many tokens take."""
        return -(-tokens // self.tokens)

    def take(self, count: int) -> list[int] | None:
        """So many blocks, whose contents are lost; None, and nothing taken, where there are not as many."""
        if count > len(self.free):
            return None
        taken = [self.free.popitem(last=False)[0] for _ in range(count)]
        for block in taken:
            self.users[block] = 1
            if self._key_of and (key := self._key_of.pop(block, None)) is not None:
                del self._of_key[key]
        return taken

    def found(self, keys: Iterable[Hashable]) -> list[int]:
        """The blocks of the first keys, up to one that is not there. They are not held by it."""
        blocks: list[int] = []
        if self._of_key:
            for key in keys:
                block = self._of_key.get(key)
                if block is None:
                    break
                blocks.append(block)
        return blocks

    def idle(self, blocks: Sequence[int]) -> int:
        """How many of the blocks nobody holds."""
        return sum(not self.users[block] for block in blocks)

    def hold(self, blocks: Sequence[int]) -> None:
        """One more request holds each."""
        for block in blocks:
            if not self.users[block]:
                del self.free[block]
            self.users[block] += 1

    def name(self, block: int, key: Hashable) -> None:
        """Let a full block be found by a key, unless another one is already or it has a key."""
        if self.reuse and key not in self._of_key and block not in self._key_of:
            self._of_key[key] = block
            self._key_of[block] = key

    def give_back(self, blocks: Sequence[int]) -> None:
        """One request less holds each. The last ones are taken again first: fewer requests begin so."""
        for block in reversed(blocks):
            self.users[block] -= 1
            if not self.users[block]:
                self.free[block] = None
