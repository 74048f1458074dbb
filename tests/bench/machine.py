"""What the kernel says about processes and about loopback, and a loopback of our own to measure on."""

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from simulations.reality.cluster import memory_bytes

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Traffic(NamedTuple):
    """What loopback has carried: IP packets with their headers, UDP and TCP alike."""

    packets: int
    bytes: int


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the processor time that *pids* have used, in user and system mode, all threads."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks * TICK_S


def memory_of(pids: Iterable[int]) -> tuple[float, float]:
    """Return the median and the largest resident memory of *pids*, in bytes."""
    sizes = [memory_bytes(pid) for pid in pids]
    return median(sizes), max(sizes)


def loopback_traffic() -> Traffic:
    """Return the counters of `lo` in our network namespace; each packet is counted once, without a link header."""
    for line in Path("/proc/self/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == "lo":
            fields = counters.split()
            return Traffic(packets=int(fields[9]), bytes=int(fields[8]))
    raise OSError("there is no loopback interface")


def own_loopback() -> bool:
    """Move this process, and those it will start, to a network namespace whose loopback nobody else uses.

    Return False where that is not allowed; then the machine's loopback is measured, with whatever else it carries. To be
    called while there is one thread.
    """
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    flags = CLONE_NEWNET if uid == 0 else CLONE_NEWNET | CLONE_NEWUSER
    if libc.unshare(flags) != 0:
        return False
    if uid != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14x", b"lo", 0)
        (now,) = struct.unpack_from("H", fcntl.ioctl(control, SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", now | IFF_UP))
    return True
