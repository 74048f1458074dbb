"""The commands of whoever operates a node: run, demo, keygen, config check, completion."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from gossipd.cli import exits, keys
from gossipd.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from gossipd.daemon_config import DaemonConfig

SHELLS = ("bash", "zsh", "fish")


def _with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* a flag for every setting outside the TOML tables, and --label."""
    label = "A label of this node (zone, region, ...); repeatable."
    command = click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help=label)(command)
    for setting in reversed(keys.TOP):
        assert setting.flag is not None
        text = f"{setting.help}  [default: {setting.default}]"
        if setting.kind is bool:
            declaration = f"{setting.flag}/--no-{setting.flag.removeprefix('--')}"
            command = click.option(declaration, setting.key, default=None, help=text)(command)
        elif setting.choices:
            command = click.option(setting.flag, setting.key, type=click.Choice(setting.choices), help=text)(command)
        else:
            many = setting.kind is list
            if many:
                text = text.replace("  [", " Repeatable.  [")
            path = click.Path() if setting.metavar == "PATH" else None
            option = click.option(
                setting.flag, setting.key, type=path, metavar=setting.metavar, multiple=many, help=text
            )
            command = option(command)
    return command


@click.command(
    short_help="Run the daemon in the foreground.",
    epilog="Every setting is also a key of the TOML file (docs/reference/config.md) and a variable GOSSIPD_<KEY>."
    " A flag wins over the environment, that over the file.",
)
@click.option(
    "--config",
    "file",
    type=click.Path(),
    envvar="GOSSIPD_CONFIG",
    metavar="FILE",
    help="TOML file of settings; read again on SIGHUP.  [env: GOSSIPD_CONFIG]",
)
@_with_settings
def run(file: str | None, **flags: Any) -> None:
    """Run the daemon in the foreground. Without any option: a working single node on loopback.

    SIGTERM and Ctrl-C leave the cluster and end with 0; SIGHUP reads the settings again.
    """
    from gossipd.cli.settings import Sources, load

    given = {key: value for key, value in flags.items() if value is not None and value != ()}
    sources = Sources(file=None if file is None else Path(file), flags=given, environ=dict(os.environ))
    settings = load(sources)
    for warning in settings.warnings:
        exits.warn(warning)
    _make_user_directory(str(settings.config.socket))

    import trio

    from gossipd.daemon import run_daemon

    trio.run(lambda: run_daemon(settings.config, reload=lambda: load(sources).config))


def _make_user_directory(socket: str) -> None:
    """Make the directory of *socket* if it is the user's own in /tmp. Raises: StorageError if it is somebody else's."""
    from gossipd.client import distrusted, user_directory

    directory = os.path.dirname(socket)
    if directory == user_directory(os.geteuid()):
        with suppress(FileExistsError):
            os.mkdir(directory, mode=0o700)
        why = distrusted(socket)
        if why is not None:
            raise StorageError(why)


@click.command(short_help="Watch a small cluster at work on this machine.")
@click.option("--nodes", type=click.IntRange(3, 20), default=5, show_default=True, help="Daemons to start, 3 to 20.")
@click.option("--keep-logs", type=click.Path(file_okay=False), metavar="DIR", help="Copy the daemons' logs to DIR.")
def demo(nodes: int, keep_logs: str | None) -> int:
    """Start a small cluster on this machine and show it at work: joining, lookup, a crash, a return, leaving.

    Real daemons on loopback ports, in a temporary directory; nothing is left behind. Takes less than a minute, and
    exits with 1, naming it, if anything that it promises did not happen.
    """
    from gossipd.demo import run_demo

    return run_demo(nodes=nodes, logs=None if keep_logs is None else Path(keep_logs))


@click.command(short_help="Print a new key for a keyring file.")
@click.option(
    "--output", type=click.Path(), metavar="FILE", help="Write to FILE with mode 0600; it must not exist yet."
)
def keygen(output: str | None) -> None:
    """Print a new 256-bit key in base64: one line of a keyring file."""
    from gossipd.crypto.keyring import encode_key, generate_key

    key = encode_key(generate_key(os.urandom))
    if output is None:
        click.echo(key)
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(
            f"--output={output}, expected a file that does not exist yet: a key is never overwritten"
        ) from None
    except OSError as error:
        raise ConfigError(f"--output={output}, expected a file that can be made: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{key}\n")


@click.group()
def config() -> None:
    """Look at settings without starting anything."""


@config.command()
@click.argument("file", required=False, type=click.Path())
def check(file: str | None) -> None:
    """Print the effective settings of FILE and the environment as TOML, or every error in them and in the files of services_dir.

    Keys are not shown.
    """
    from gossipd.cli.effective import as_toml
    from gossipd.cli.settings import SettingsError, Sources, load

    file = file or os.environ.get("GOSSIPD_CONFIG")
    settings = load(Sources(file=None if file is None else Path(file), environ=dict(os.environ)))
    for warning in settings.warnings:
        exits.warn(warning)
    problems = _problems_of_services(settings.config)
    if problems:
        raise SettingsError(problems)
    click.echo(as_toml(settings), nl=False)


def _problems_of_services(config: "DaemonConfig") -> list[str]:
    """Return all that is wrong in the services directory, if there is one."""
    from gossipd.shell.services_dir import read_directory

    if config.services_dir is None:
        return []
    reading = read_directory(str(config.services_dir), scripts=config.script_checks)
    problems = [f"{file.path}: {problem}" for file in reading.files for problem in file.problems]
    return problems if reading.problem is None else [f"services_dir: {reading.problem}"]


def _shells(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(shell) for shell in SHELLS if shell.startswith(incomplete)]


@click.command(short_help="Print a shell's completion script.")
@click.argument("shell", type=click.Choice(SHELLS), shell_complete=_shells)
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of SHELL; for bash: eval "$(gossipd completion bash)"."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None  # SHELLS are click's own
    script = found(context.find_root().command, {}, "gossipd", "_GOSSIPD_COMPLETE")
    click.echo(script.source_template % script.source_vars())


COMMANDS = (run, demo, keygen, config, completion)
"""In the order of the reference page."""
