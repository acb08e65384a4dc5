"""The lanes of an actor: several handler actors that share its messages by key.

Laws. A key has one lane, so its messages are handled in order, one at a time, over crashes too; and what the lane's instance
knows of a key nobody else changes. Which lane that is depends on nothing but the key and the number of lanes. Outside, in
subscriptions, message ids and dead letters, there is one actor: lanes show in the tree, the log and health only.

What the actor may hold of the receive window is one pool for all its lanes. While they hold no more than it, nothing is over;
beyond it each may hold up to the water level, where all that rises above it, cut off, would leave the pool just full. So a busy
key uses what the others leave, and never what they need.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence, Sized

import attrs

from .box import ActorBox
from .in_flight import Work
from .lane_key import KeyOf, LaneKey
from .subscription import Subscription


@attrs.define(eq=False)
class Lanes:
    """One arrangement of an actor's lanes; another number or key is another arrangement. Most actors have one lane, and no key.

    `path`: the actor's in the tree. `share`: what all the lanes together may hold for long.
    """

    name: str
    path: str
    boxes: tuple[ActorBox, ...]
    key: LaneKey | None = None
    share: int = 1
    subscriptions: tuple[Subscription, ...] = ()
    _mailboxes: tuple[Sized, ...] = attrs.field(init=False)
    _keys: dict[str, KeyOf] = attrs.field(factory=dict, init=False)  # by subscription id

    def __attrs_post_init__(self) -> None:
        self._mailboxes = tuple(box.mailbox for box in self.boxes)

    @property
    def shape(self) -> tuple[int, str | None]:
        """What tells one arrangement of an actor's lanes from another."""
        return len(self.boxes), None if self.key is None else self.key.text

    def subscribe(self, subscriptions: tuple[Subscription, ...]) -> None:
        """The actor has these now."""
        self.subscriptions = subscriptions
        for box in self.boxes:
            box.subscriptions = subscriptions
        self._keys = {each.id: self.key.of(each.template) for each in subscriptions} if self.key is not None else {}

    def of(self, work: Work) -> ActorBox:
        """Whose this is. What came by a subscription that is no more goes to the first, which says so."""
        key_of = self._keys.get(work.subscription.id)
        if key_of is None:
            return self.boxes[0]
        return self.boxes[lane_of(key_of(work.delivery), len(self.boxes))]

    def over_share(self) -> Sequence[ActorBox]:
        """Those that may hold too much, each told its share; nobody while there is room for all."""
        held = [*map(len, self._mailboxes)]
        if sum(held) <= self.share:
            return ()
        level = water_level(held, self.share)
        for box in self.boxes:
            box.share = level
        return self.boxes


def lane_of(key: str, lanes: int) -> int:
    """The lane of `key` among so many, counted from 0; the same in every process."""
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % lanes


def water_level(held: Sequence[int], share: int) -> int:
    """The most that each may keep if all together, who hold more, are to keep `share`; at least 1."""
    left = share
    for number, each in enumerate(sorted(held)):
        level = left // (len(held) - number)
        if each > level:
            return max(1, level)
        left -= each
    return max(1, share)
