"""A small application to stand behind an edge: `python app.py VERSION` prints its port and serves until it is ended.

/slow/SECONDS answers late, /hold/NAME when somebody asked for /let-go/NAME (or half a minute passed), /block/SECONDS answers nobody meanwhile, /status/CODE as told, /host/NAME 503 for another Host, /count how many requests of each method came, /headers what it was
sent, /database with the database-error header, /echo the body; else its version. It closes idle connections never.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

VERSION = sys.argv[1]
counts: dict[str, int] = {}
held: dict[str, asyncio.Event] = {}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            request, *lines = head.decode("latin-1").split("\r\n")
            method, path, _ = request.split(" ")
            headers: dict[str, str] = {}
            for name, _, value in (line.partition(":") for line in lines if line):
                before = headers.get(name.lower())
                headers[name.lower()] = f"{before}, {value.strip()}" if before is not None else value.strip()
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            status, extra, answer = 200, "", VERSION.encode()
            if not path.startswith(("/health", "/count", "/let-go/")):
                counts[method] = counts.get(method, 0) + 1
            if path.startswith("/slow/"):
                await asyncio.sleep(float(path.split("/")[2]))
            elif path.startswith("/hold/"):
                await asyncio.wait_for(held.setdefault(path.split("/")[2], asyncio.Event()).wait(), 30)
            elif path.startswith("/let-go/"):
                held.setdefault(path.split("/")[2], asyncio.Event()).set()
            elif path.startswith("/block/"):
                time.sleep(float(path.split("/")[2]))  # noqa: ASYNC251 - a busy worker answers nobody, that is the point
            elif path.startswith("/status/"):
                status = int(path.split("/")[2])
            elif path.startswith("/host/"):
                status = 200 if headers["host"] == path.split("/")[2] else 503
            elif path == "/die":
                os._exit(9)
            elif path == "/count":
                answer = json.dumps(counts).encode()
            elif path == "/headers":
                answer = json.dumps(headers).encode()
            elif path == "/database":
                status, extra = 500, "X-Deploykit-Database-Error: 1\r\n"
            elif path == "/echo":
                answer = body
            elif path == "/upgrade":
                writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
                while data := await reader.read(1024):
                    writer.write(data)
                return
            close = headers.get("connection", "").lower() == "close"
            if close:
                extra += "Connection: close\r\n"
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(answer)}\r\n{extra}\r\n".encode() + answer)
            await writer.drain()
            if close:
                return
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    server = await asyncio.start_server(serve, sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1", port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
