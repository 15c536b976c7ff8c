"""In which order the environments of a device have their turn within a round.

What a place in the round costs (a warm card, a cold start, clocks that fall) must be no environment's
own. So rounds come in pairs: a random order and then its reverse (ABBA; Cox, Planning of Experiments,
1958), a new one for each pair. Within a pair any effect that is linear in the place cancels, and of
any two environments each is once before the other.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256


def turns(
    environments: Iterable[str], repeat: int, *, seed: str, earlier: Mapping[str, str]
) -> list[str]:
    """Returns the environments in the order in which they are measured in this round.

    The same for the same arguments on every machine. Fewer environments keep their order among
    themselves, so those that need more rounds than others are in pairs too.

    Args:
        environments: Names of those on one device, in any order.
        repeat: Number of the round, from 0.
        seed: Another one gives other orders.
        earlier: environment → when it was started in the round before, ISO 8601 of one time zone.
            The second round of a pair is the reverse of that, whoever made it: a run that goes on
            from an interrupted one has another seed. Empty, or without some: as the seed has it.
    """
    pair, second = divmod(repeat, 2)
    drawn = sorted(environments, key=lambda name: _drawn(seed, pair, name))
    if not second:
        return drawn
    drawn.reverse()
    if all(earlier.get(name) for name in drawn):
        drawn.sort(key=lambda name: earlier[name], reverse=True)
    return drawn


def _drawn(seed: str, pair: int, name: str) -> bytes:
    return sha256(f"{seed}\n{pair}\n{name}".encode()).digest()
