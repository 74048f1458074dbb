"""What looks on while a world runs: checkers, pictures, measurements. None of it changes what happens."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gossipd.core.events import Event
from simulations.host import Host

if TYPE_CHECKING:
    from simulations.world import World


@dataclass(frozen=True, slots=True)
class Violation:
    """At *at*, *checker* saw *what*, which must not be."""

    at: float
    checker: str
    what: str

    def __str__(self) -> str:
        return f"{self.at:9.3f} s  {self.checker}: {self.what}"


class Watcher:
    """Override what you want to see; the rest costs nothing."""

    world: "World"

    def begin(self, world: "World") -> None:
        """Called once, by `World.watch`; keep what you need of *world*."""
        self.world = world

    def on_event(self, host: Host, event: Event) -> None:
        """The process of *host* published *event*."""

    def on_input(self, host: Host) -> None:
        """The process of *host* has taken an input or a timer, and its actions are done. Every event: use with care."""

    def on_second(self) -> None:
        """A virtual second has begun."""

    def on_start(self, host: Host) -> None:
        """A process begins to run on *host* (not called at a warm start)."""

    def on_stop(self, host: Host) -> None:
        """The process of *host* has ended."""

    def on_note(self, text: str) -> None:
        """A story or a fault did *text*."""

    def finish(self) -> None:
        """The story is over: look at what is left."""
