"""Paged memory of keys and values, with blocks shared by requests that have a prefix in common.

A block without a user keeps its content until it is allocated again, least recently used first. A full block
is found again by a key, which stands for its tokens and all tokens before them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence


class KvBlocks:
    """``count`` blocks of ``tokens`` tokens each; with ``reuse`` their contents are found again."""

    def __init__(self, count: int, tokens: int, reuse: bool = True) -> None:
        self.count, self.tokens, self.reuse = count, tokens, reuse
        self.free: OrderedDict[int, None] = OrderedDict.fromkeys(range(count))
        """Blocks without a user, the next to be allocated first."""
        self.users = [0] * count
        """Number of requests that use each block."""
        self._block_of: dict[Hashable, int] = {}
        self._key_of: dict[int, Hashable] = {}

    def needed(self, tokens: int) -> int:
        """Blocks that so many tokens take."""
        return -(-tokens // self.tokens)

    def allocate(self, count: int) -> list[int] | None:
        """Take free blocks, whose contents are lost; None, and nothing taken, where too few are free."""
        if count > len(self.free):
            return None
        blocks = [self.free.popitem(last=False)[0] for _ in range(count)]
        for block in blocks:
            self.users[block] = 1
            if self._key_of and (key := self._key_of.pop(block, None)) is not None:
                del self._block_of[key]
        return blocks

    def cached(self, keys: Iterable[Hashable]) -> list[int]:
        """Blocks of the first keys, up to one that is missing. Their users stay as they are."""
        blocks: list[int] = []
        if self._block_of:
            for key in keys:
                block = self._block_of.get(key)
                if block is None:
                    break
                blocks.append(block)
        return blocks

    def idle(self, blocks: Sequence[int]) -> int:
        """Number of the blocks without a user."""
        return sum(not self.users[block] for block in blocks)

    def share(self, blocks: Sequence[int]) -> None:
        """Add a user to each block."""
        for block in blocks:
            if not self.users[block]:
                del self.free[block]
            self.users[block] += 1

    def register(self, block: int, key: Hashable) -> None:
        """Let a full block be found by a key, unless the key has a block or the block a key."""
        if self.reuse and key not in self._block_of and block not in self._key_of:
            self._block_of[key] = block
            self._key_of[block] = key

    def release(self, blocks: Sequence[int]) -> None:
        """Remove a user from each block. The last ones are allocated again first: fewer requests share
        them."""
        for block in reversed(blocks):
            self.users[block] -= 1
            if not self.users[block]:
                self.free[block] = None
