"""The structure of the code: imports point one way, everything is async, everything is typed."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest
from quart import Quart

import app as package

ROOT = Path(package.__file__).parent
FEATURES = {"accounts", "posts", "profiles", "search", "greeting"}

# What a room may import besides itself; "" is the factory, `app` itself. A dotted name is one module of a
# room: as a key it has a rule of its own, as a value it is all that may be imported of that room.
ALLOWED = {
    "": FEATURES
    | {"database", "messages", "outbox", "personal_data", "quart_mail"}
    | {"reports", "settings", "shutdown", "web"},
    "quart_mail": set(),
    "settings": {"quart_mail"},
    "logs": {"settings"},
    "cli.context": {"database"},
    "database": set(),
    "migrations": {"accounts", "posts", "greeting", "messages", "outbox", "reports", "database"}
    | {"quart_mail"},
    "web": {"database", "migrations", "settings", "logs"},
    "outbox": {"database", "quart_mail", "cli.context", "settings", "logs"},
    "mailer": {"outbox", "quart_mail", "web.languages"},
    "accounts": {"database", "web", "outbox", "mailer", "quart_mail", "cli.context"},
    "posts": {"database", "web", "outbox", "accounts"},
    "profiles": {"database", "web", "outbox", "accounts", "posts"},
    "search": {"database", "web", "accounts", "posts", "cli.context"},
    "greeting": {"database", "web", "accounts"},
    "messages": {"database", "accounts"},
    "reports": {"database", "web", "outbox", "mailer", "quart_mail"},
    "email": {"database", "quart_mail", "outbox", "mailer", "accounts", "reports"},
    "personal_data": {"database", "web", "outbox", "mailer", "quart_mail", "accounts", "messages", "posts"},
    "shutdown": {"outbox", "web"},
    "dev.server": {"", "migrations", "settings"},
    "dev.demo": {"database", "accounts", "posts"},
    "dev": {"web"},
    "worker": {"", "cli.context", "database", "outbox", "settings", "logs", "web"},
    "cli": set(),
    "cli.console": set(),
    "cli.translate": {"settings"},
    "cli.main": {"", "accounts", "dev.server", "posts", "search", "outbox", "quart_mail", "database"}
    | {"migrations", "settings"},
}

# The modules of a feature that may know of the request; a feature of one file is its own routes.
ROUTES = {"routes", "account_routes", "auth"}

# Within a feature: a module imports none that stands before it.
LAYERS = [
    *("routes", "account_routes", "cli", "throttle", "auth", "forms"),
    *("service", "sessions", "devices", "emails", "queries"),
    *("models", "tokens", "passwords", "password_worker", "password_policy", "names", "words", "browsers"),
]


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        if "versions" not in path.parts:
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield (".".join(part for part in parts if part != "__init__"), ast.parse(path.read_text()))


def imports_of(name: str, tree: ast.Module) -> set[str]:
    """Return the modules of the house that the module `name` imports, without the leading `app.`."""
    home = name if (ROOT / name.replace(".", "/")).is_dir() else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), f"app.{home}".rstrip("."))
            names = {f"{source}.{alias.name}" for alias in node.names}
            found |= {each if is_module(each) else source for each in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {each[4:] for each in found if each.split(".")[0] == "app"}


def is_module(name: str) -> bool:
    path = ROOT.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def test_rooms_import_only_the_rooms_below_them() -> None:
    for name, tree in modules():
        room = name.split(".")[0]
        assert room in ALLOWED, f"say in ALLOWED what the room {room} may import"
        allowed = ALLOWED.get(name, ALLOWED[room]) | {room}
        refused = {
            imported
            for imported in imports_of(name, tree)
            if imported not in allowed and imported.split(".")[0] not in allowed
        }
        assert not refused, f"{name} imports {sorted(refused)}"


def test_no_module_is_part_of_a_circle() -> None:
    graph = {name: imports_of(name, tree) - {name, ""} for name, tree in modules()}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("feature", sorted(FEATURES))
def test_within_a_feature_arrows_point_from_routes_to_models(feature: str) -> None:
    for name, tree in modules():
        room, _, layer = name.partition(".")
        if room == feature and layer in LAYERS:
            above = {f"{room}.{other}" for other in LAYERS[: LAYERS.index(layer)]}
            assert not imports_of(name, tree) & (above - {f"{room}.forms"}), name


def test_only_routes_touch_request_and_session() -> None:
    for name, tree in modules():
        room, _, layer = name.partition(".")
        if (ROOT / room).is_dir() and room in FEATURES and layer not in ROUTES:
            names = {
                alias.name
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom) and node.module == "quart"
                for alias in node.names
            }
            assert not names & {"request", "session"}, name


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_every_view_hook_and_handler_is_async(app: Quart) -> None:
    functions: list[object] = [
        *app.view_functions.values(),
        *app.before_serving_funcs,
        *app.after_serving_funcs,
    ]
    for hooks in (
        app.before_request_funcs,
        app.after_request_funcs,
        app.teardown_request_funcs,
        app.template_context_processors,
    ):
        functions += [function for listed in hooks.values() for function in listed]
    for codes in app.error_handler_spec.values():
        functions += [handler for handlers in codes.values() for handler in handlers.values()]
    assert len(functions) > 15
    for function in functions:
        assert inspect.iscoroutinefunction(function), function
