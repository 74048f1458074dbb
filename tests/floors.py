"""The floors of gossipd as values: who may import whom, what stays out of the core, and how long a piece may grow.

Pure functions from source to offences; test_floors.py runs them over the tree and over planted offences. Nothing that
is checked is imported. A new module directly inside gossipd/ must be given its floor here first.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FLOORS = {
    "errors": 0,
    "ids": 0,
    "limits": 0,
    "records": 0,
    "checks": 0,
    "check_reading": 0,
    "check_targets": 0,
    "durations": 0,
    "config": 0,
    "validation": 0,
    "tokens": 0,
    "nearness": 0,
    "ranges": 0,
    "wire": 1,
    "crypto": 1,
    "core": 2,
    "node": 3,
    "shell": 4,
    "api": 4,
    "nameserver": 4,
    "gateway": 4,
    "metrics": 4,
    "client": 4,
    "balancing": 4,
    "daemon_config": 4,
    "daemon": 5,
    "demo": 5,
    "systemd": 5,
    "cli": 6,
}
"""The floor of each module or package directly inside gossipd/; it may import lower floors."""

SAME_FLOOR = {
    "ids": ("errors", "limits"),
    "records": ("errors", "ids", "limits"),
    "checks": ("errors", "ids", "limits", "records", "validation"),
    "check_reading": ("check_targets", "checks", "durations", "limits", "records", "validation"),
    "check_targets": ("checks", "durations", "ids", "limits", "validation"),
    "durations": ("validation",),
    "config": ("errors", "ids", "limits", "ranges"),
    "ranges": ("errors",),
    "tokens": ("ranges",),
    "validation": ("errors", "ids", "limits", "records"),
    "core.checks": ("core.catalog",),
    "core.sync": ("core.catalog", "core.membership"),
    "client": ("api.requests", "api.session", "balancing"),
    "daemon": ("systemd",),
    "demo": ("daemon",),
}
"""What may be imported from the same floor besides one's own package; everything else there is a stranger."""

REACH = {"balancing": 0}
"""The highest floor that a unit may import from, where not all below it: what applications import brings nothing else along."""

CORE_SHARED = ("core.effects", "core.events", "core.deadlines", "core.items")
"""What every machine in core/ may use; they use no machine."""

DOORS = ("api", "nameserver", "gateway")
"""Packages that are handed a View and Commands, and never the Node."""

SHELL_FLOOR = 4
"""The first floor that may touch the world."""

LAB_REACHES = {"simulations.reality": ("gossipd.client",)}
"""What a part of the lab may import above the floors that it simulates: real daemons are asked as any application asks them."""

WORLD = {
    *("datetime", "time"),
    *("os", "secrets", "uuid"),
    *("select", "selectors", "signal", "socket", "subprocess"),
    *("asyncio", "concurrent", "multiprocessing", "threading"),
    "logging",
}
"""Standard modules that bring in time, chance, I/O or tasks."""

MODULE_LINES_MAX = 400
"""Longest module: about eight screens, still read in one sitting."""

FUNCTION_LINES_MAX = 60
"""Longest function without its docstring: one screen."""

LONGER: dict[str, int] = {}
"""Lines granted to what is longer all the same: "gossipd.x" or "gossipd.x:function" -> lines, each with its reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One source file: its dotted *name*, whether it is an `__init__.py`, its *text*."""

    name: str
    is_package: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """*target* in full (`from a.b import c` is a.b.c, which names the module or something in it), at *line*."""

    target: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Offence:
    """*module* breaks *rule* at *line*."""

    rule: str
    module: str
    line: int
    detail: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.rule}: {self.detail}"


def read_modules(root: Path, package: str) -> list[Module]:
    """Return every module of *package* below *root*, sorted by name; none if there is no such folder."""
    modules = []
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        modules.append(Module(name=name, is_package=is_package, text=path.read_text(encoding="utf-8")))
    return modules


def imports(module: Module) -> Iterator[Import]:
    """Yield every import in *module*, inside functions and `if TYPE_CHECKING` too, relative ones made absolute."""
    for node in ast.walk(ast.parse(module.text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(target=alias.name, line=node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            for alias in node.names:
                yield Import(target=f"{base}.{alias.name}", line=node.lineno)


def import_offences(module: Module) -> list[Offence]:
    """Return what *module* of gossipd imports and should not: other floors, siblings, doors, the world."""
    unit = _unit(module.name)
    if unit in ("", "__main__"):  # the map, and `python -m gossipd`
        return []
    floor = _floor(unit)
    if floor is None:
        return [Offence(rule="unplaced", module=module.name, line=1, detail=f"give {unit} a floor in tests/floors.py")]
    offences = []
    for found in imports(module):
        broken = _broken_rules(module.name, found.target)
        offences += [Offence(rule=rule, module=module.name, line=found.line, detail=found.target) for rule in broken]
    if floor < SHELL_FLOOR:
        offences += _random_offences(module)
    return offences


def simulation_offences(module: Module) -> list[Offence]:
    """Return what *module* of simulations imports and should not: trio, tests, or gossipd from floor 4 up.

    But for LAB_REACHES.
    """
    offences = []
    reached = [target for part, targets in LAB_REACHES.items() if _within(module.name, part) for target in targets]
    for found in imports(module):
        if _within(found.target, *reached):
            continue
        floor = _floor(_unit(found.target)) if _within(found.target, "gossipd") else 0
        if found.target == "gossipd.__version__":
            floor = 0
        if floor is None or floor >= SHELL_FLOOR or _top(found.target) in ("trio", "tests"):
            offences.append(Offence(rule="simulation", module=module.name, line=found.line, detail=found.target))
    return offences


def size_offences(module: Module, longer: dict[str, int] = LONGER) -> list[Offence]:
    """Return *module*, and its functions, where longer than the house permits or *longer* grants."""
    offences = []
    lines = len(module.text.splitlines())
    if lines > longer.get(module.name, MODULE_LINES_MAX):
        offences.append(Offence(rule="long module", module=module.name, line=lines, detail=f"{lines} lines"))
    for node in ast.walk(ast.parse(module.text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = _function_lines(node)
            if lines > longer.get(f"{module.name}:{node.name}", FUNCTION_LINES_MAX):
                detail = f"{node.name} has {lines} lines"
                offences.append(Offence(rule="long function", module=module.name, line=node.lineno, detail=detail))
    return offences


def _broken_rules(importer: str, target: str) -> list[str]:
    return (_own_rules if _within(target, "gossipd") else _foreign_rules)(importer, target)


def _own_rules(importer: str, target: str) -> list[str]:
    """Return the rules that *importer* breaks by importing *target* of gossipd."""
    if target == "gossipd.__version__":
        return []
    unit, other = _unit(importer), _unit(target)
    floor, other_floor = _floor(unit), _floor(other)
    if floor is None or other_floor is None:  # the package itself, or a name without a floor
        return ["unplaced"]
    rules = []
    if other_floor > floor:
        rules.append("upward")
    elif other != unit and other_floor > REACH.get(unit, floor):
        rules.append("reach")
    elif other_floor == floor and other != unit and not _may_meet(unit, target):
        rules.append("sibling")
    if unit.startswith("core") and other in ("wire", "crypto") and not _within(target, "gossipd.wire.messages"):
        rules.append("bytes in core")
    if unit in DOORS and _within(target, "gossipd.node.node", "gossipd.node.Node"):
        rules.append("node in a door")
    return rules


def _foreign_rules(importer: str, target: str) -> list[str]:
    """Return the rules that *importer* breaks by importing *target*, which is not gossipd's."""
    floor = _floor(_unit(importer))
    top = _top(target)
    if top in ("tests", "simulations"):
        return ["outside"]
    if top == "trio" and not _may_trio(importer):
        return ["trio"]
    if top == "anyio" and not importer.startswith("gossipd.client.aio"):
        return ["anyio"]
    if floor is not None and floor < SHELL_FLOOR:
        if top in WORLD:
            return ["world"]
        if target.startswith("random.") and target != "random.Random":
            return ["random"]
    return []


def _random_offences(module: Module) -> list[Offence]:
    """Return the uses of the module-level generator through `import random`."""
    tree = ast.parse(module.text)
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "random"
    }
    return [
        Offence(rule="random", module=module.name, line=node.lineno, detail=f"random.{node.attr}")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in names
        and node.attr != "Random"
    ]


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    """Return the module that *node* imports from, with leading dots resolved."""
    if node.level == 0:
        return node.module or ""
    parts = module.name.split(".")
    package = parts[: len(parts) - node.level + (1 if module.is_package else 0)]
    return ".".join([*package, node.module] if node.module else package)


def _unit(name: str) -> str:
    """Return the part of gossipd that stands on a floor as one: "wire", or "core.catalog"; "" for gossipd itself."""
    parts = name.split(".")[1:]
    return ".".join(parts[:2] if parts[:1] == ["core"] else parts[:1])


def _floor(unit: str) -> int | None:
    return FLOORS.get(_top(unit))


def _top(name: str) -> str:
    return name.partition(".")[0]


def _may_meet(unit: str, target: str) -> bool:
    allowed = SAME_FLOOR.get(unit, ())
    if unit.startswith("core."):
        allowed += CORE_SHARED
    return _within(target, *(f"gossipd.{name}" for name in allowed))


def _may_trio(name: str) -> bool:
    unit = _unit(name)
    return unit in ("shell", "client", "daemon", "demo", "cli") or (
        _floor(unit) == SHELL_FLOOR and name.endswith((".server", ".connection"))
    )


def _within(target: str, *modules: str) -> bool:
    return any(target == module or target.startswith(f"{module}.") for module in modules)


def _function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node, clean=False) is not None:
        docstring = node.body[0]
        lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return lines
