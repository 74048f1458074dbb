"""One try of one check: what every kind is given, and how it says what it found."""

import os
import re
from dataclasses import dataclass
from socket import gaierror
from ssl import SSLError

from gossipd.checks import Check, CheckResult
from gossipd.records import Health, Service

_CONTROLS = "[\x00-\x08\x0b-\x1f\x7f-\x9f]"


class Failed(Exception):
    """What was tried does not pass, and the text tells people why."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """A try of *check*, of *service*, which is reached at *host* from here.

    *doing* is what it is about, for when the time is up: "waiting for the answer"; *seen* what came before.
    """

    check: Check
    service: Service
    host: str
    doing: str = "starting"
    seen: str = ""

    def place(self, host: str | None, port: int | None) -> tuple[str, int]:
        """Return host and port to go to: the instance's where the target names none."""
        return host or self.host, port or self.service.port

    def result(self, health: Health, text: str) -> CheckResult:
        return CheckResult(health=health, output=fit_to_show(text, self.check.output_bytes_max))

    def late(self) -> CheckResult:
        """Return the result for when the time is up."""
        return self.result(
            Health.CRITICAL, f"time-out after {self.check.timeout_s:g} s while {self.doing}\n{self.seen}"
        )


def fit_to_show(text: str, bytes_max: int) -> str:
    """Return *text* as it may be shown on a terminal and kept: no control characters but line ends and tabs, no surrogates,
    nothing blank around it, at most *bytes_max* bytes of UTF-8."""
    text = text[: bytes_max + len(text) - len(text.lstrip())].strip()  # a character is a byte at least
    printable = re.sub(_CONTROLS, "\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))
    return printable.encode(errors="replace")[:bytes_max].decode(errors="ignore")


def text_of(data: bytes) -> str:
    """Return what an untrusted program or server wrote, as text."""
    return data.decode(errors="replace")


def reason_of(error: BaseException) -> str:
    """Return why *error* came about, in words: the system's, if a system call is at the bottom of it, else its own."""
    cause = error.__cause__
    if isinstance(cause, OSError):
        return reason_of(cause)
    if isinstance(error, OSError) and not isinstance(error, gaierror | SSLError) and error.errno is not None:
        return os.strerror(error.errno)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
