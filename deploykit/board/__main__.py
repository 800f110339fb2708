"""`python -m deploykit.board --port 8000`: serve the board until SIGTERM."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time


def main(argv: list[str] | None = None) -> int:
    """0 after a clean stop, 1 when the port can't be had, 2 for wrong arguments or variables."""
    began = time.perf_counter()
    parser = argparse.ArgumentParser(prog="python -m deploykit.board", description="Serve the release board.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    parser.add_argument("--drain", type=float, default=10.0, help="seconds for requests in flight after SIGTERM")
    parser.add_argument("--linger", type=float, default=0.5, help="seconds to go on answering after SIGTERM")
    options = parser.parse_args(argv)

    # Nothing that is imported is garbage; looking for it costs a tenth of the start.
    gc.disable()
    try:
        import uvicorn  # here, so that `--help` and wrong arguments answer at once

        from deploykit.board import access, app, config, logs, server
    except ModuleNotFoundError as error:
        print(f"The board needs {error.name}: pip install 'deploykit[board]'", file=sys.stderr)  # noqa: T201 - a person typed this, and logging is not set up yet
        return 1

    logs.set_up()
    on_loopback = access.is_loopback(options.host)
    try:
        settings = config.Config.from_environ(os.environ, on_loopback=on_loopback)
    except config.ConfigError as error:
        print(f"The board can't start: {error}.", file=sys.stderr)  # noqa: T201 - a person typed this; the log on standard output is JSON
        return 2
    board = app.create_app(settings)
    gc.freeze()
    gc.enable()
    serving = server.DrainingServer(
        uvicorn.Config(
            board,
            host=options.host,
            port=options.port,
            lifespan="on",
            loop="asyncio",
            http="h11",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            # Longer than a proxy keeps its idle connections, so that the proxy is the one who closes them.
            timeout_keep_alive=120,
            timeout_graceful_shutdown=max(1, round(options.drain)),
        ),
        board.state.drain,
        linger=options.linger,
    )
    if not on_loopback and not settings.tokens.readers:
        server.log.warning("only apps can read this board, each of itself: set BOARD_READ_TOKEN for people")
    server.log.info("starting", extra={"port": options.port, "seconds": round(time.perf_counter() - began, 3)})
    try:
        serving.run()
    except SystemExit:  # uvicorn's way to say that the port can't be had; it has logged why
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
