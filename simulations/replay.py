"""Replay lines: one line that says which run it was, to be printed by whoever fails and read by `python -m simulations replay`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A story by *name*, with so many *nodes*, from *seed*; *history_hash* None: not to be compared."""

    name: str
    nodes: int
    seed: int
    history_hash: str | None = None

    def __str__(self) -> str:
        line = f"{self.name} nodes={self.nodes} seed={self.seed}"
        return line if self.history_hash is None else f"{line} history={self.history_hash}"


def parse(line: str) -> Replay:
    """Return the run in *line*, as `str(Replay)` wrote it. Raises: ValueError."""
    name, *pairs = line.split() or [""]
    fields: dict[str, str] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key not in ("nodes", "seed", "history") or not value or key in fields:
            raise ValueError(f"{pair!r}, expected nodes=N seed=S and perhaps history=HASH")
        fields[key] = value
    if not name or "nodes" not in fields or "seed" not in fields:
        raise ValueError(f"{line!r}, expected: STORY nodes=N seed=S [history=HASH]")
    try:
        nodes, seed = int(fields["nodes"]), int(fields["seed"])
    except ValueError:
        raise ValueError(f"{line!r}, expected whole numbers of nodes and seed") from None
    return Replay(name=name, nodes=nodes, seed=seed, history_hash=fields.get("history"))
