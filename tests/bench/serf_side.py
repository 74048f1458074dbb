"""The same measurements of serf agents, as far as serf has the same things: LAN profile, loopback."""

import selectors
import time
from random import Random

from tests.bench.gossipd_side import (
    CHANGE_LIMIT_S,
    CHANGE_PAUSE_S,
    JOIN_LIMIT_S,
    KILL_LIMIT_S,
    LOOK_PAUSE_S,
    SETTLE_S,
    idle_figures,
)
from tests.bench.machine import cpu_seconds, loopback_traffic, memory_of
from tests.bench.serf import Agent, Agents, Rpc, wait_seen


class Serfs:
    """*count* agents that know nobody yet; on exit all have ended."""

    def __init__(self, count: int, *, sealed: bool) -> None:
        self._agents = Agents(count, sealed=sealed)

    def __enter__(self) -> "Serfs":
        return self

    def __exit__(self, *_error: object) -> None:
        self._agents.close()

    @property
    def running(self) -> list[Agent]:
        return [agent for agent in self._agents.agents if agent.process.poll() is None]

    def join(self) -> float:
        """Let all join the first at once; return the seconds until the last view is complete."""
        agents = self.running
        askers = [Rpc(agent.rpc_port) for agent in agents[1:]]
        begun = time.monotonic()
        for asker in askers:
            asker.send("join", {"Existing": [f"127.0.0.1:{agents[0].port}"], "Replay": False})
        ended = wait_seen(
            agents, lambda agent: agent.alive() == len(agents), pause_s=LOOK_PAUSE_S, within_s=JOIN_LIMIT_S
        )
        for asker in askers:
            asker.close()
        return ended - begun

    def idle(self, seconds: float) -> dict[str, float]:
        """Return what an idle agent costs on average."""
        time.sleep(SETTLE_S)
        pids = self._agents.pids
        cpu, traffic, begun = cpu_seconds(pids), loopback_traffic(), time.monotonic()
        time.sleep(seconds)
        spent = time.monotonic() - begun
        return idle_figures(len(pids), spent, cpu_seconds(pids) - cpu, traffic, loopback_traffic())

    def changes(self, count: int, *, seed: int = 1) -> tuple[list[float], list[float]]:
        """Change a tag on a random agent *count* times.

        Return the seconds until the last agent's member list had it, and until the last event stream told it.
        """
        rng, listed, told = Random(seed), [], []
        agents = self.running
        with _Streams(agents) as streams:
            for number in range(count):
                owner, value = rng.choice(agents), str(number).encode()
                begun = time.monotonic()
                owner.tag({"bench": value.decode()})
                seen = wait_seen(
                    [agent for agent in agents if agent is not owner],
                    lambda agent: agent.member(owner.name).get(b"Tags", {}).get(b"bench") == value,  # noqa: B023
                    pause_s=LOOK_PAUSE_S / 5,
                    within_s=CHANGE_LIMIT_S,
                )
                listed.append(seen - begun)
                told.append(streams.wait(value, within_s=CHANGE_LIMIT_S) - begun)
                time.sleep(CHANGE_PAUSE_S)
        return listed, told

    def memory(self) -> tuple[float, float]:
        return memory_of(self._agents.pids)

    def kills(self, count: int, *, seed: int = 2) -> list[float]:
        """Kill *count* agents one after another; return the seconds until all others had declared each failed."""
        rng, taken = Random(seed), []
        for _ in range(count):
            victim = rng.choice(self.running[1:])
            others = [agent for agent in self.running if agent is not victim]
            begun = time.monotonic()
            victim.process.kill()
            victim.process.wait()

            def failed(agent: Agent) -> bool:
                return bool(agent.member(victim.name).get(b"Status") == b"failed")  # noqa: B023

            taken.append(wait_seen(others, failed, pause_s=2 * LOOK_PAUSE_S, within_s=KILL_LIMIT_S) - begun)
        return taken


class _Streams:
    """An event stream of member updates from each agent."""

    def __init__(self, agents: list[Agent]) -> None:
        self._selector = selectors.DefaultSelector()
        self._streams = [Rpc(agent.rpc_port) for agent in agents]
        for stream in self._streams:
            stream.call("stream", {"Type": "member-update"}, answers=False)
            self._selector.register(stream._socket, selectors.EVENT_READ, stream)

    def __enter__(self) -> "_Streams":
        return self

    def __exit__(self, *_error: object) -> None:
        self._selector.close()
        for stream in self._streams:
            stream.close()

    def wait(self, value: bytes, *, within_s: float) -> float:
        """Return when the last stream told that somebody's tag is *value*."""
        until = time.monotonic() + within_s
        waiting = set(self._streams)
        while waiting:
            ready = self._selector.select(max(0.0, until - time.monotonic()))
            if not ready and time.monotonic() >= until:
                raise TimeoutError(f"{len(waiting)} event streams did not tell within {within_s:g} s")
            for key, _ in ready:
                stream: Rpc = key.data
                header, body = stream.receive(), stream.receive()
                assert not header[b"Error"], header
                if any(member[b"Tags"].get(b"bench") == value for member in body[b"Members"]):
                    waiting.discard(stream)
        return time.monotonic()
