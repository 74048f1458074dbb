"""A story as a picture of text: members downwards, time to the right, coloured by what the others believe of each."""

from collections import Counter
from collections.abc import Sequence

from simulations.beliefs import DEAD, LEFT, SUSPECT, UNKNOWN
from simulations.watching import Watcher

LEGEND = {
    ".": "alive to all",
    "s": "suspect to some",
    "S": "suspect to most",
    "d": "dead to some",
    "D": "dead to most",
    "L": "left",
    "?": "unknown to most",
    "x": "down, unnoticed",
    "z": "frozen, unnoticed",
    " ": "not started",
}
_COLOURS = {".": 32, "s": 33, "S": 93, "d": 35, "D": 31, "L": 34, "?": 90, "x": 36, "z": 36, " ": 0}


class Timeline(Watcher):
    """Looks once a second; remembers one letter a member, and what the story did."""

    def __init__(self) -> None:
        self.columns: list[str] = []
        self.notes: list[tuple[float, str]] = []

    def on_second(self) -> None:
        self.columns.append("".join(map(self._letter, range(len(self.world.hosts)))))

    def on_note(self, text: str) -> None:
        self.notes.append((self.world.now, text))

    def _letter(self, number: int) -> str:
        counts, host = self.world.beliefs.counts[number], self.world.hosts[number]
        half = sum(counts) / 2
        if counts[DEAD]:
            return "D" if counts[DEAD] >= half else "d"
        if counts[SUSPECT]:
            return "S" if counts[SUSPECT] >= half else "s"
        if counts[LEFT] and counts[LEFT] >= half:
            return "L"
        if counts[UNKNOWN] and counts[UNKNOWN] >= half:
            return "?" if host.up else " "
        if not host.up:
            return "x" if host.run else " "
        return "z" if host.frozen or host.blocked else "."


def draw(timeline: Timeline, *, width: int = 100, height: int = 40, colour: bool = False) -> str:
    """Return the picture, at most *width* letters and *height* rows of members wide; a cell shows what is most common in it."""
    columns = timeline.columns
    if not columns:
        return "(nothing happened for a whole second)"
    members = len(columns[0])
    rows, per_row = _parts(members, height)
    times, per_column = _parts(len(columns), width)
    lines = []
    used: set[str] = set()
    for row in range(rows):
        first, end = row * per_row, min((row + 1) * per_row, members)
        cells = []
        for at in range(times):
            part = columns[at * per_column : (at + 1) * per_column]
            cells.append(_most_common([column[number] for column in part for number in range(first, end)]))
        used.update(cells)
        label = f"n{first}" if end == first + 1 else f"n{first}-{end - 1}"
        lines.append(f"{label:>11} {_coloured(cells) if colour else ''.join(cells)}")
    scale = "".join(f"{at * per_column:<10}" for at in range(0, times, 10))
    legend = ", ".join(f"{letter} {text}" for letter, text in LEGEND.items() if letter in used and letter != " ")
    notes = [f"{at:9.1f} s  {text}" for at, text in timeline.notes]
    return "\n".join([*lines, f"{'s':>11} {scale}", f"{'':11} {legend}", "", *notes])


def _parts(count: int, most: int) -> tuple[int, int]:
    """Return into how many parts of what size to cut *count*, at most *most* parts."""
    size = -(-count // most)
    return -(-count // size), size


def _most_common(letters: Sequence[str]) -> str:
    """Return the most common letter; what is not well shows as soon as a quarter is so."""
    counts = Counter(letters)
    bad = [(number, letter) for letter, number in counts.items() if letter != "." and 4 * number >= len(letters)]
    return max(bad)[1] if bad else counts.most_common(1)[0][0]


def _coloured(cells: Sequence[str]) -> str:
    return "".join(f"\x1b[{_COLOURS[cell]}m{cell}" for cell in cells) + "\x1b[0m"
