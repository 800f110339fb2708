"""The board as an ASGI application: `uvicorn deploykit.board.app:app`, or `python -m deploykit.board`."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import anyio
from anyio import to_thread
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from deploykit.board import database, events, pages
from deploykit.board.access import EVERY_APP, KnownHosts
from deploykit.board.config import Config
from deploykit.board.middleware import Drain, Envelope
from deploykit.board.store import OtherContentError, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy.engine import Engine
    from starlette.requests import Request

__all__ = ["create_app"]

MAX_BODY = 64 * 1024
HEALTH_SECONDS = 2.0
RETRY_SECONDS = "2"
MAX_RELEASES = 200

log = logging.getLogger("deploykit.board")


def create_app(config: Config | None = None, *, now: Callable[[], float] = time.time) -> Starlette:
    """The application. A database that is missing or down does not keep it from starting: `/health` says so."""
    board = Board(config or Config.from_environ(os.environ), now)
    drain = Drain()
    app = Starlette(
        routes=[
            Route("/health", board.health),
            Route("/api/events", board.receive, methods=["POST"]),
            Route("/api/apps", board.list_apps),
            Route("/api/releases", board.list_releases),
            Route("/", board.front_page),
            Route("/apps/{app:path}", board.app_page),
            Route("/board.css", board.style),
        ],
        middleware=[Middleware(Envelope, drain=drain), Middleware(KnownHosts, names=board.config.hosts)],
        exception_handlers={
            HTTPException: _http_error,
            database.DatabaseUnavailableError: _unavailable,
            SQLAlchemyError: board.database_error,
            Exception: _unforeseen,
        },
        lifespan=board.lifespan,
    )
    app.state.drain = drain
    return app


class Board:
    """The endpoints, and what they share."""

    def __init__(self, config: Config, now: Callable[[], float]) -> None:
        self.config = config
        self.now = now
        self.refused = ""
        self.engine: Engine | None = None
        try:
            self.engine = database.connect(config.database_url)
        except database.DatabaseUnavailableError as error:
            self.refused = str(error)
            log.error("%s", error)  # noqa: TRY400 - a sentence for the operator, not a traceback
        # Health checks stuck on a database that hangs must not use up the threads of the requests.
        self.checks = anyio.CapacityLimiter(2)

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        yield
        if self.engine is not None:
            self.engine.dispose()

    @property
    def store(self) -> Store:
        if self.engine is None:
            raise database.DatabaseUnavailableError(self.refused)
        return Store(self.engine, self.now)

    async def health(self, request: Request) -> Response:
        """200 when the board can do its work; else 503, after at most HEALTH_SECONDS. Readers get the cause, too."""
        problem = await self._problem()
        status = "unhealthy" if problem else "draining" if request.app.state.drain.on else "healthy"
        answer: dict[str, Any] = {"status": status, "version": self.config.version}
        if problem:
            log.warning("unhealthy: %s", problem)
        if self._readable(request) == EVERY_APP:
            if self.config.release:
                answer |= {"release": self.config.release, "environment": self.config.environment}
            answer["checks"] = {"database": problem or "ok"}
        return JSONResponse(answer, 200 if status == "healthy" else 503, headers=NO_STORE)

    async def _problem(self) -> str:
        """Why the database can't be used; empty when it can."""
        try:
            with anyio.fail_after(HEALTH_SECONDS):
                await to_thread.run_sync(self._check, abandon_on_cancel=True, limiter=self.checks)
        except TimeoutError:
            return f"The database did not answer within {HEALTH_SECONDS:g} seconds."
        except database.DatabaseUnavailableError as error:
            return str(error)
        return ""

    def _check(self) -> None:
        if self.engine is None:
            raise database.DatabaseUnavailableError(self.refused)
        database.check(self.engine)

    async def receive(self, request: Request) -> Response:
        """Take one event: 201, 200 for one that is already here, 403 for another app's, 409 for its id with other
        content.
        """
        app = self._writer(request)
        body = await _body(request)
        if body is None:
            return _error(413, f"An event is at most {MAX_BODY} bytes.", {"Connection": "close"})
        try:
            event, ignored = events.parse(body)
        except events.InvalidEventError as error:
            mistakes = [{"field": mistake.field, "message": mistake.message} for mistake in error.mistakes]
            return JSONResponse({"error": "This is not an event.", "mistakes": mistakes}, 422, headers=NO_STORE)
        if event.app != app:
            return _error(403, f"This is the token of {app}: it reports on no other app.")
        try:
            new = await to_thread.run_sync(self.store.record, event)
        except OtherContentError:
            return _error(409, f"An event {event.id} is already here with other content; give each event its own id.")
        answer = {"id": str(event.id), "duplicate": not new, "ignored": list(ignored)}
        return JSONResponse(answer, 201 if new else 200, headers=NO_STORE)

    async def list_apps(self, request: Request) -> Response:
        mine = self._reader(request)
        apps = await to_thread.run_sync(lambda: self.store.apps(mine))
        answer = [
            {
                "name": app.name,
                "environments": [
                    {
                        "name": environment.name,
                        "live": environment.live and environment.live.as_json(),
                        "running": [release.as_json() for release in environment.running],
                    }
                    for environment in app.environments
                ],
            }
            for app in apps
        ]
        return JSONResponse({"apps": answer}, headers=NO_STORE)

    async def list_releases(self, request: Request) -> Response:
        mine = self._reader(request)
        query = request.query_params
        limit = query.get("limit", "50")
        if not (limit.isascii() and limit.isdigit() and len(limit) < 5 and 1 <= int(limit) <= MAX_RELEASES):
            raise HTTPException(400, f"limit must be a number from 1 to {MAX_RELEASES}.")
        app, environment = _name(query.get("app", "")) or mine, _name(query.get("environment", ""))
        if app != mine != EVERY_APP:
            raise HTTPException(403, f"This is the token of {mine}: it reads of no other app.")
        releases = await to_thread.run_sync(
            lambda: self.store.releases(app=app, environment=environment, limit=int(limit))
        )
        return JSONResponse({"releases": [release.as_json() for release in releases]}, headers=NO_STORE)

    async def front_page(self, request: Request) -> Response:
        mine = self._reader(request)
        return await self._page(lambda: pages.front(self.store, self._frame(), mine))

    async def app_page(self, request: Request) -> Response:
        mine = self._reader(request)
        name = _name(request.path_params["app"])
        readable = mine in {EVERY_APP, name}
        return await self._page(lambda: pages.one_app(self.store, name, self._frame()) if readable else None)

    async def style(self, _request: Request) -> Response:
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}  # its address holds the version
        return Response(pages.stylesheet(), media_type="text/css", headers=headers)

    async def database_error(self, _request: Request, error: Exception) -> Response:
        """What the database refused, told without statement and parameters; the log has the traceback."""
        log.error("database error", exc_info=error)
        return _error(503, self._cause(error), {"Retry-After": RETRY_SECONDS})

    def _cause(self, error: Exception) -> str:
        if isinstance(error, SQLAlchemyError):
            return database.cause(error, self.engine.url if self.engine else None)
        return str(error)

    def _frame(self) -> pages.Frame:
        return pages.Frame(version=self.config.version, now=self.now(), query=urlencode({"v": self.config.version}))

    async def _page(self, build: Callable[[], str | None]) -> Response:
        try:
            page = await to_thread.run_sync(build)
        except (SQLAlchemyError, database.DatabaseUnavailableError) as error:
            why = self._cause(error)
            log.warning("page without database: %s", why)
            page = await to_thread.run_sync(lambda: pages.trouble(why, self._frame()))
            return HTMLResponse(page, 503, headers={**NO_STORE, "Retry-After": RETRY_SECONDS})
        if page is None:
            page = await to_thread.run_sync(
                lambda: pages.trouble("No release of such an app was reported here.", self._frame())
            )
            return HTMLResponse(page, 404, headers=NO_STORE)
        return HTMLResponse(page, headers=NO_STORE)

    def _writer(self, request: Request) -> str:
        """The app that may be reported on."""
        if not self.config.tokens.apps:
            raise HTTPException(503, "This board takes no events: its variable BOARD_TOKENS is not set.")
        if (app := self.config.tokens.writer(request.headers.get("authorization", ""))) is None:
            headers = {"WWW-Authenticate": "Bearer"}
            raise HTTPException(401, "Send the header `Authorization: Bearer <BOARD_TOKEN>`.", headers)
        return app

    def _reader(self, request: Request) -> str:
        """The app that may be shown, EVERY_APP for all."""
        if (mine := self._readable(request)) is None:
            headers = {"WWW-Authenticate": 'Basic realm="release board", charset="UTF-8"'}
            raise HTTPException(401, "Reading this board takes its BOARD_READ_TOKEN, or an app's own token.", headers)
        return mine

    def _readable(self, request: Request) -> str | None:
        if self.config.open_to_readers:
            return EVERY_APP
        return self.config.tokens.reader(request.headers.get("authorization", ""))


NO_STORE = {"Cache-Control": "no-store"}


async def _body(request: Request) -> bytes | None:
    """The body, or None when it is longer than MAX_BODY, announced or not."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > MAX_BODY:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return None
    return bytes(body)


def _name(text: str) -> str:
    """A name as it can be looked up; what no name can hold is looked up as what no app is called."""
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise HTTPException(404, "There is no such app.")
    return text


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": message}, status, headers={**NO_STORE, **(headers or {})})


async def _http_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return _error(error.status_code, error.detail, dict(error.headers or {}))


async def _unavailable(_request: Request, error: Exception) -> Response:
    return _error(503, str(error), {"Retry-After": RETRY_SECONDS})


async def _unforeseen(_request: Request, _cause: Exception) -> Response:
    return PlainTextResponse("Internal Server Error", 500, headers=NO_STORE)


def __getattr__(name: str) -> Any:
    # Made when asked for, so that importing this module opens nothing.
    if name == "app":
        return globals().setdefault("app", create_app())
    raise AttributeError(name)
