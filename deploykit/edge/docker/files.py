"""What HAProxy reads in its containers besides its configuration: see `docs/decisions/0003`."""

from __future__ import annotations

import io
import tarfile

from deploykit.edge.docker.lease_lua import LEASE_LUA

__all__ = ["BIND", "HOLD_CONFIG", "HOLD_SOCKET", "WATCH", "tar_of_files"]

BIND = "0.0.0.0:8080"  # nosec B104 - inside a container, whose port is published on the address of the settings
HOLD_SOCKET = "hold.sock"
_WATCH_SOCKET = "watch.sock"
"""Says how old the holder is, and does nothing: the proxies that read it are nobody."""
_FOLDER = "/deploykit"
HOLD_CONFIG = f"{_FOLDER}/hold.cfg"
WATCH = f"{_FOLDER}/watch.lua"

_HOLD = f"""\
# Written by deploykit. This process holds the public port's socket and never takes a connection from it: those who
# come while no proxy runs wait in the socket's queue. The proxies get the socket from it (-x).
global
  nbthread 1
  maxconn 100
  stats socket unix@{HOLD_SOCKET} mode 600 level admin expose-fd listeners
  stats socket unix@{_WATCH_SOCKET} mode 666 level user
  lua-load {_FOLDER}/hold.lua
  lua-load {_FOLDER}/lease.lua
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend public
  bind {BIND}
  http-request return status 503 content-type text/plain string "starting, try again in a moment" hdr Retry-After 1
"""

# HAProxy has no setting for a frontend that takes nothing (maxconn 0 means the default), its runtime API has.
_HOLD_LUA = f"""\
core.register_task(function()
  while true do
    local socket = core.tcp()
    socket:settimeout(5)
    if socket:connect("unix@{HOLD_SOCKET}") then
      socket:send("set maxconn frontend public 0\\n")
      socket:receive("*l")
      socket:close()
      return
    end
    socket:close()
    core.msleep(1)
  end
end)
"""

# A holder that was started again has another socket, and nobody would take connections from that one.
_WATCH_LUA = f"""\
core.register_task(function()
  local last = -1
  while true do
    local socket = core.tcp()
    socket:settimeout(5)
    if socket:connect("unix@{_WATCH_SOCKET}") then
      socket:send("show info\\n")
      local uptime
      while true do
        local line = socket:receive("*l")
        if not line then break end
        uptime = uptime or tonumber(string.match(line, "^Uptime_sec: (%d+)"))
      end
      if uptime then
        if uptime < last then os.exit(1) end
        last = uptime
      end
    end
    socket:close()
    core.msleep(500)
  end
end)
"""


def tar_of_files() -> bytes:
    """A tar for `/` of every container of the edge."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for path, text in (
            (HOLD_CONFIG, _HOLD),
            (f"{_FOLDER}/hold.lua", _HOLD_LUA),
            (f"{_FOLDER}/lease.lua", LEASE_LUA),
            (WATCH, _WATCH_LUA),
        ):
            data = text.encode()
            file = tarfile.TarInfo(path.removeprefix("/"))
            file.size, file.mode = len(data), 0o444
            tar.addfile(file, io.BytesIO(data))
    return made.getvalue()
