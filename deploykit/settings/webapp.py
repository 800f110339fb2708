"""Which object of a repo is its web application, which server can run it, and on which path it says that it is well.

The sources are parsed, never imported: importing an application can open connections, and needs its dependencies.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deploykit.settings.repo import Repo, Source

__all__ = ["LOOKED_FOR", "WebApp", "find_app", "find_health", "server_command"]

_CLASSES = {
    "Flask": ("wsgi", "a Flask app"),
    "Bottle": ("wsgi", "a Bottle app"),
    "get_wsgi_application": ("wsgi", "Django's WSGI application"),
    "FastAPI": ("asgi", "a FastAPI app"),
    "Starlette": ("asgi", "a Starlette app"),
    "Litestar": ("asgi", "a Litestar app"),
    "Quart": ("asgi", "a Quart app"),
    "get_asgi_application": ("asgi", "Django's ASGI application"),
}
_FACTORIES = frozenset({"create_app", "make_app", "create_application", "get_app"})
_FILES = ("asgi", "wsgi", "app", "main", "application", "server", "api", "web", "service", "run")
LOOKED_FOR = (
    "app.py, main.py, wsgi.py, asgi.py, application.py, server.py, api.py, manage.py and the application's packages"
)
_HEALTH = (
    *("/health", "/healthz", "/api/health", "/api/healthz", "/_health", "/healthcheck", "/health-check"),
    *("/health_check", "/-/healthy", "/up", "/readyz", "/ready", "/livez", "/live", "/ping", "/status"),
)
_ROUTE = re.compile(
    r"""(?:(?:route|get|add_url_rule|Route|path|url|handle)\(\s*(?:(?:path|rule)\s*=\s*)?|==\s*|\bcase\s+|\bin\s*[({\[]\s*)"""
    r"""["'](/?[A-Za-z_/-]{0,30}/?)["']"""
)
"""A path in the places where routes are written: decorators, route tables, comparisons in plain WSGI and ASGI code."""


@dataclass(frozen=True, kw_only=True)
class WebApp:
    """`target` is what servers are given (`package.module:name`); `interface` is `wsgi` or `asgi`."""

    target: str
    interface: str
    kind: str
    path: str
    factory: bool = False


def find_app(repo: Repo) -> WebApp | None:
    """The application object, looked for in the likely files first; None when there is none."""

    def rank(source: Source) -> tuple[int, int, str]:
        last = source.module.rsplit(".", 1)[-1]
        return (_FILES.index(last) if last in _FILES else len(_FILES), source.module.count("."), source.path)

    candidates = [app for source in sorted(repo.sources, key=rank) for app in _apps(source)]
    if not candidates:
        return None
    # A factory comes after any ready object: `create_app` beside `app = create_app()` is only its maker.
    best = min(candidates, key=lambda app: (app.factory, candidates.index(app)))
    if best.kind.startswith("Django") and (chosen := _django(candidates, repo)):
        return chosen
    return best


def _django(candidates: list[WebApp], repo: Repo) -> WebApp | None:
    """Django makes both asgi.py and wsgi.py: the one that the installed server can run."""
    asgi_only = any(name in repo.dependencies for name in ("uvicorn", "hypercorn", "daphne")) and not any(
        name in repo.dependencies for name in ("gunicorn", "waitress")
    )
    wanted = "asgi" if asgi_only else "wsgi"
    return next((app for app in candidates if app.kind.startswith("Django") and app.interface == wanted), None)


def _apps(source: Source) -> Iterator[WebApp]:
    if not re.search(
        r"Flask|Bottle|FastAPI|Starlette|Litestar|Quart|_application|create_app|make_app|get_app|environ|scope",
        source.text,
    ):
        return
    try:
        tree = ast.parse(source.text)
    except (SyntaxError, ValueError, RecursionError):
        return
    made = {node.name: found for node in tree.body if isinstance(node, ast.FunctionDef) and (found := _maker(node))}
    for name, value in _assignments(tree.body):
        call = _last_name(value.func) if isinstance(value, ast.Call) else ""
        if found := _CLASSES.get(call) or made.get(call):
            yield WebApp(target=f"{source.module}:{name}", interface=found[0], kind=found[1], path=source.path)
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names = [argument.arg for argument in node.args.args]
            if names in (["environ", "start_response"], ["scope", "receive", "send"]):
                wsgi = names[0] == "environ"
                yield WebApp(
                    target=f"{source.module}:{node.name}",
                    interface="wsgi" if wsgi else "asgi",
                    kind="a WSGI application" if wsgi else "an ASGI application",
                    path=source.path,
                )
            elif node.name in _FACTORIES and node.name in made and not _required(node):
                interface, kind = made[node.name]
                yield WebApp(
                    target=f"{source.module}:{node.name}",
                    interface=interface,
                    kind=f"a factory of {kind}",
                    path=source.path,
                    factory=True,
                )


def _maker(node: ast.FunctionDef) -> tuple[str, str] | None:
    """What a function makes, if it makes a web application."""
    calls = (inner for inner in ast.walk(node) if isinstance(inner, ast.Call))
    return next((_CLASSES[name] for call in calls if (name := _last_name(call.func)) in _CLASSES), None)


def _required(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it can't be called without arguments."""
    args = node.args
    return len(args.posonlyargs) + len(args.args) > len(args.defaults) or None in args.kw_defaults


def _assignments(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """`name = value` at the top of a module, also inside `if` and `try`."""
    for node in body:
        if isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, node.value
        elif isinstance(node, ast.If):
            # Code under `__name__ == "__main__"` does not exist for a server that imports the module.
            if "__name__" not in ast.dump(node.test):
                yield from _assignments([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from _assignments(node.body)


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def server_command(app: WebApp, dependencies: Mapping[str, str]) -> tuple[str, str] | None:
    """The command that runs the application, and why that server; None when no server is known for it."""
    target, bind = app.target, "127.0.0.1:{port}"
    call = f"'{target}()'" if app.factory else target
    commands = {
        "gunicorn": f"gunicorn --bind {bind} {call}",
        "waitress": f"waitress-serve --listen={bind} {'--call ' if app.factory else ''}{target}",
        "uvicorn": f"uvicorn {'--factory ' if app.factory else ''}{target} --host 127.0.0.1 --port {{port}}",
        "hypercorn": f"hypercorn --bind {bind} {call}",
        "daphne": f"daphne --bind 127.0.0.1 --port {{port}} {target}",
    }
    servers = ("gunicorn", "waitress", "hypercorn") if app.interface == "wsgi" else ("uvicorn", "hypercorn", "daphne")
    for server in servers:
        if server in dependencies and not (server == "daphne" and app.factory):
            return commands[server], f"{server} is among the dependencies in {dependencies[server]}"
    if any(f"fastapi[{extra}]" in dependencies for extra in ("standard", "all")):
        return commands["uvicorn"], "fastapi brings uvicorn"
    if "Flask" in app.kind:
        return (
            f"flask --app {call} run --host 127.0.0.1 --port {{port}}",
            "Flask's own development server, for want of a better one: add gunicorn or waitress to the dependencies",
        )
    return None


def find_health(repo: Repo) -> tuple[str, str] | None:
    """The path of a health route that the sources name, and the file; `/` when that is the only route known."""
    routes: dict[str, tuple[str, str]] = {}
    for source in repo.sources:
        for literal in _ROUTE.findall(source.text):
            path = literal if literal.startswith("/") else f"/{literal}"
            bare = path.rstrip("/") or "/"
            if bare in _HEALTH or literal == "/":
                routes.setdefault(bare, (path, source.path))
    return next((routes[path] for path in (*_HEALTH, "/") if path in routes), None)
