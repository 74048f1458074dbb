"""The executable `gossipd`: its commands, and what becomes of every error.

A command imports what it needs when it runs: `gossipd members` costs no trio, and `--help` nothing but click.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from gossipd import __version__
from gossipd.cli import commands, exits, operate, own
from gossipd.errors import ConfigError, GossipdError, RequestError

_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:<4} {meaning}" for code, meaning in exits.MEANINGS.items())


class Program(click.Group):
    """The group whose `main` ends the process with a documented code and at most one line an error."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of a first day, not of the alphabet

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # click would write an empty line first
            raise click.exceptions.Exit(exits.INTERRUPTED) from None
        except BrokenPipeError:  # click would end with 1
            _forget_stdout()
            raise click.exceptions.Exit(exits.BROKEN_PIPE) from None

    def main(  # type: ignore[override]  # click's overloads promise a return; this one never does
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> None:
        extra["standalone_mode"] = False
        try:
            code = super().main(args, prog_name or "gossipd", **extra)
            sys.stdout.flush()
        except BrokenPipeError:
            _forget_stdout()
            code = exits.BROKEN_PIPE
        except (click.Abort, KeyboardInterrupt):
            code = exits.INTERRUPTED
        except (click.ClickException, GossipdError, OSError) as error:
            code = failure(error)
        sys.exit(code if isinstance(code, int) else exits.OK)


def failure(error: Exception) -> int:
    """Write *error* to stderr and return the exit code that goes with it."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return exits.USAGE
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        hint = f" (see '{context.command_path} --help')" if context is not None else ""
        exits.complain([f"{error.format_message().rstrip('.')}{hint}"])
        return exits.USAGE
    if isinstance(error, RequestError):
        exits.complain([str(error)])
        return exits.NO_DAEMON if error.code in exits.NO_DAEMON_CODES else exits.FAILED
    if isinstance(error, ConfigError):
        exits.complain(getattr(error, "problems", [str(error)]))
        return exits.USAGE
    if isinstance(error, OSError) and error.strerror:
        exits.complain([f"{error.filename}: {error.strerror}" if error.filename else error.strerror])
        return exits.FAILED
    exits.complain([str(error)])
    return exits.FAILED


def _forget_stdout() -> None:
    """Whoever read our output is gone, so is stdout: the interpreter must not try to flush it once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_standard_streams() -> None:
    """Open /dev/null for each standard stream that was closed before we started.

    Else a socket or a file of ours would get its number, and log lines would be written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


@click.group(
    cls=Program,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    invoke_without_command=False,
)
@click.version_option(__version__, prog_name="gossipd", message="%(prog)s %(version)s")
def cli() -> None:
    """Service discovery by gossip: one daemon per host, the whole catalog everywhere, no servers.

    Start with `gossipd demo`, or run a node with `gossipd run` and ask it from another terminal: `gossipd info`.
    """


for command in (*operate.COMMANDS, *commands.READING, *own.COMMANDS, *commands.NODE):
    cli.add_command(command)


def main() -> None:
    """Run the command line of this process; does not return."""
    open_standard_streams()
    cli.main()
