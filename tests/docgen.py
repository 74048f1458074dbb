"""Generated reference pages: `python -m tests.docgen --write` writes them, a test says when they are out of date.

docs/reference/config.md from the table of settings and the protocol's dataclasses; docs/reference/cli.md from --help;
docs/reference/limits.md from gossipd/limits.py.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import click

from gossipd import limits
from gossipd.cli import exits, keys
from gossipd.cli.main import cli
from gossipd.config import LAN, LOCAL, WAN
from gossipd.limits import LABEL_KEY_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX, NODE_LABELS_BYTES_MAX

ROOT = Path(__file__).resolve().parent.parent

UNITS = {
    "_s": "seconds",
    "bytes_per_s": "bytes per second",
    "bytes_burst": "bytes",
    "factor": "factor",
    "_max": "count",
}
"""The unit by the end of a name, the longest end first."""

LIMITS_HEAD = """\
# Limits

<!-- Written by `python -m tests.docgen --write` from gossipd/limits.py. Do not edit. -->

Everything that grows has a cap, enforced where something is inserted. What a cap refuses or drops is counted: see
`gossipd statistics`. These are not settings: peers rely on some of them, and the arithmetic of one rests on others.

| name | value | why |
|---|---|---|
"""

CONFIG_HEAD = """\
# Settings

<!-- Written by `python -m tests.docgen --write` from gossipd/cli/keys.py and gossipd/config.py. Do not edit. -->

Every setting has a default: `gossipd run` without any is a working single node on loopback. What differs is said by a flag, an
environment variable or a TOML file (`gossipd run --config FILE`), and the first of these that knows it wins:

    flag  >  environment  >  file  >  default

- `gossipd config check [FILE]` prints the effective settings, each with its source, or every error at once; it starts nothing.
- An unknown key, a wrong type or a value out of its range is an error that names file, key, value and expectation (exit code 2).
- An empty environment variable counts as unset. A list is written with commas there. Variables that name no setting are ignored.
- The variable of a key in a table carries the table's name: `probe.interval_s` is `GOSSIPD_PROBE_INTERVAL_S`.
- SIGHUP reads the same sources again, and the files of `services_dir`. Labels, the keys of a keyring, log level, join and
  services_dir take effect at once; for the rest the daemon says in its log that a restart is needed. If something is wrong, it
  keeps what it has and logs the error.

## A file

```toml
join = ["gossip.example.org"]          # a DNS name stands for all its addresses
keyring = "/etc/gossipd/keyring"       # made with: gossipd keygen --output /etc/gossipd/keyring
profile = "lan"

[labels]
zone = "a"

[probe]
interval_s = 2.0                       # overrides the profile
```

## Settings of the node

"""

LABELS_TEXT = f"""\
## [labels]

The node's own labels (zone, region, rack), seen by everybody in `gossipd members`. Keys are free,
of 1 to {LABEL_KEY_BYTES_MAX} bytes; values are text of at most {LABEL_VALUE_BYTES_MAX} bytes; at most {LABELS_MAX} labels, of
{NODE_LABELS_BYTES_MAX} bytes in all.
On the command line `--label KEY=VALUE`, in the
environment `GOSSIPD_LABELS=zone=a,rack=r7`. Sources are merged key by key.

"""

PROTOCOL_TEXT = """\
## Protocol settings

These tables override single values of the profile. Every member of a cluster should run the same; a change needs a restart. They
have no flags, but variables.

"""

CLI_HEAD = """\
# Command line

<!-- Written by `python -m tests.docgen --write` from the commands' own --help. Do not edit. -->

One executable, `gossipd`. All commands but `run`, `demo`, `keygen`, `config` and `completion` ask the daemon of this host over its
Unix socket: `--socket PATH`, else `GOSSIPD_SOCKET`, else where a daemon of this user would listen by default ([socket](config.md)),
else, if none answers there, the host's at `/run/gossipd/gossipd.sock`.

## Exit codes

| code | meaning |
|---|---|
"""

CLI_OUTPUT = """
An error is one line on stderr, `gossipd: error: ...`; several wrong settings are several lines. Stdout carries the answer only.

## Output

Reading commands print tables, aligned and never cut; on a terminal with colour, unless `NO_COLOR` is set. What other nodes wrote is
escaped where it is not printable. Below a table stands one line that begins with `!` when the answer should be trusted less: this
node is isolated, has not met all its peers since it started, or a part of the answer was last vouched for a minute ago or more.
`gossipd info` says in its last line whether it has `met` them.

With `--json` they print the daemon's answer instead, as one line: exactly the result object of the
[local API](local-api.md), its `view` included. `gossipd watch --json` prints one event a line. These field names are stable.

`gossipd resolve` has no header, and `address:port` is the first column: `gossipd resolve web | while read -r target _; do ...`.

## Shell completion

Commands, options, and the names of members, services and instances, asked of the running daemon; without one, no names.

    eval "$(gossipd completion bash)"             # in ~/.bashrc
    eval "$(gossipd completion zsh)"              # in ~/.zshrc
    gossipd completion fish > ~/.config/fish/completions/gossipd.fish

## Commands

"""


def config_page() -> str:
    """Return docs/reference/config.md."""
    return "".join([CONFIG_HEAD, *_top_settings(), LABELS_TEXT, PROTOCOL_TEXT, *_protocol_tables()])


def _top_settings() -> Iterator[str]:
    for setting in keys.TOP:
        kind = {str: "text", bool: "true or false", list: "list of text, or one text"}[setting.kind]
        flag = f"{setting.flag} / --no-{setting.key}" if setting.kind is bool else str(setting.flag)
        yield f"### {setting.key}\n\n{setting.help}\n\n"
        yield f"- type: {kind}; expected: {setting.expected}\n- default: {setting.default}\n"
        yield f"- flag `{flag}`{' (repeatable)' if setting.kind is list else ''}, variable `{setting.variable}`\n\n"


def _protocol_tables() -> Iterator[str]:
    for section in keys.SECTIONS:
        cls = type(getattr(LAN, section))
        docs = field_docs(cls)
        yield f"### [{section}]\n\n{inspect.getdoc(cls)}\n\n"
        yield "| key | unit | lan | wan | local | range | |\n|---|---|---|---|---|---|---|\n"
        for field in fields(cls):
            setting = keys.SETTINGS[f"{section}.{field.name}"]
            values = [_figure(getattr(getattr(profile, section), field.name)) for profile in (LAN, WAN, LOCAL)]
            span = setting.expected.removeprefix("a number from ").removeprefix("a whole number from ")
            cells = [f"`{field.name}`", _unit(field.name, field.type), *values, span, docs[field.name]]
            yield f"| {' | '.join(cells)} |\n"
        yield "\n"


def _figure(value: float | bool | str) -> str:
    if isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else keys.figure(value)


def _unit(name: str, kind: object) -> str:
    if kind is bool or get_args(kind):
        return "-"
    return next(
        (unit for end, unit in sorted(UNITS.items(), key=lambda i: -len(i[0])) if name.endswith(end)),
        "count" if kind is int else "part",
    )


def field_docs(cls: type[Any]) -> dict[str, str]:
    """Return the text that stands below each field of the dataclass *cls*, on one line."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for node, after in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            assert isinstance(after, ast.Expr), f"{cls.__name__}.{node.target.id} has no text"
            assert isinstance(after.value, ast.Constant), f"{cls.__name__}.{node.target.id} has no text"
            docs[node.target.id] = " ".join(str(after.value.value).split())
    return docs


def cli_page() -> str:
    """Return docs/reference/cli.md."""
    codes = "".join(f"| {code} | {meaning} |\n" for code, meaning in exits.MEANINGS.items())
    return "".join([CLI_HEAD, codes, CLI_OUTPUT, *_commands(cli, "gossipd")])


def _commands(group: click.Group, path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
            continue
        settings = {**cli.context_settings, "terminal_width": 100, "max_content_width": 100}
        context = click.Context(command, info_name=f"{path} {name}", **settings)
        yield f"### {path} {name}\n\n```text\n{command.get_help(context)}\n```\n\n"


def limits_page() -> str:
    """Return docs/reference/limits.md."""
    rows = []
    body = ast.parse(inspect.getsource(limits)).body
    for node, after in pairwise(body):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            assert isinstance(after, ast.Expr), f"limits.{name} has no text"
            assert isinstance(after.value, ast.Constant), f"limits.{name} has no text"
            rows.append(f"| `{name}` | {getattr(limits, name):,} | {' '.join(str(after.value.value).split())} |\n")
    return LIMITS_HEAD + "".join(rows)


PAGES: Mapping[Path, Callable[[], str]] = {
    ROOT / "docs" / "reference" / "config.md": config_page,
    ROOT / "docs" / "reference" / "cli.md": cli_page,
    ROOT / "docs" / "reference" / "limits.md": limits_page,
}


def outdated() -> list[Path]:
    """Return the pages that differ from what would be written now."""
    return [
        path
        for path, page in PAGES.items()
        if not path.exists() or path.read_text(encoding="utf-8") != page().rstrip() + "\n"
    ]


def main() -> None:
    """Write the pages with --write; otherwise name the outdated ones and exit with 1 if there are any."""
    found = outdated()
    if "--write" in sys.argv[1:]:
        for path in found:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(PAGES[path]().rstrip() + "\n", encoding="utf-8")
    for path in found:
        print(f"{'wrote' if '--write' in sys.argv[1:] else 'outdated'}: {path.relative_to(ROOT)}")
    if found and "--write" not in sys.argv[1:]:
        sys.exit(1)


if __name__ == "__main__":
    main()
