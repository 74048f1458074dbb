"""How stories part their hosts: whole numbers of hosts in given proportions, or a clear error."""

from simulations.faults import Hosts


def at_least(nodes: int, least: int) -> None:
    """Raise ValueError if there are fewer than *least* nodes."""
    if nodes < least:
        raise ValueError(f"nodes={nodes}, expected at least {least} for this story")


def split(nodes: int, *parts: int) -> tuple[Hosts, ...]:
    """Return hosts 0 to nodes - 1 in consecutive groups in proportion to *parts*, none empty; a part of 0 is one host.

    Raises: ValueError if there are too few nodes to give each part one, and at least two in all but one.
    """
    at_least(nodes, 2 * len(parts))
    singles = sum(part == 0 for part in parts)
    total = sum(parts)
    sizes = [max(1, round((nodes - singles) * part / total)) if part else 1 for part in parts]
    sizes[sizes.index(max(sizes))] += nodes - sum(sizes)
    starts = [sum(sizes[:at]) for at in range(len(sizes))]
    return tuple(tuple(range(start, start + size)) for start, size in zip(starts, sizes, strict=True))
