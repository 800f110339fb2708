"""How the holder keeps a lease: HAProxy's Lua. See `lease.py`, and HAProxy's Lua API for `core`."""

from __future__ import annotations

from deploykit.edge.config import SOCKET

__all__ = ["BUSY", "LEASE_LUA", "NONE", "PLAN", "STATE"]

PLAN = "lease.plan"
"""What is done at the end. Only the kit writes it."""
STATE = "lease.state"
"""The lease. Only the holder writes it, while it runs."""
NONE = "none"
BUSY = "busy"
"""The answer while the traffic is being given back: ask again."""

LEASE_LUA = rf"""
local lease   -- id, seconds, boot, due (seconds since boot), ends_at, ended_at or nil, holds
local restoring = false

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

local function write(path, text)
  if read(path) == text then return true end
  local file = io.open(path .. ".lease", "wb")
  if not file then return false end
  local written = file:write(text)
  return file:close() and written and os.rename(path .. ".lease", path)
end

-- Goes on while the machine sleeps, and is another one after a boot.
local function clock()
  local boot = string.match(read("/proc/sys/kernel/random/boot_id") or "", "%S+") or "-"
  return boot, tonumber(string.match(read("/proc/uptime") or "", "^%S+")) or os.time()
end

local function now()
  local at = core.now()
  return at.sec + at.usec / 1000000
end

local function line()
  if not lease then return "{NONE}" end
  return string.format("%s %g %s %.2f %.3f %s %s", lease.id, lease.seconds, lease.boot, lease.due, lease.ends_at,
    lease.ended_at and string.format("%.3f", lease.ended_at) or "-", lease.holds and "holds" or "over")
end

-- What could not be saved is found again by the clock.
local function save() write("{STATE}", line() .. "\n") end

local function load()
  local id, seconds, boot, due, ends_at, ended_at, holds =
    string.match(read("{STATE}") or "", "^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)\n")
  if not id then return end
  lease = {{id = id, seconds = tonumber(seconds), boot = boot, due = tonumber(due), ends_at = tonumber(ends_at),
    ended_at = tonumber(ended_at), holds = holds == "holds"}}
end

local function extend()
  local boot, at = clock()
  lease.boot, lease.due, lease.ends_at = boot, at + lease.seconds, now() + lease.seconds
end

local function end_if_due()
  if not lease or lease.ended_at then return end
  local boot, at = clock()
  if boot == lease.boot and at < lease.due then return end
  lease.ended_at = now()
  save()
end

-- Batches of commands and checks, and files: see `written` in lease.py.
local function plan()
  local text, found, at = read("{PLAN}") or "", {{batches = {{}}, files = {{}}}}, 1
  while true do
    local stop = string.find(text, "\n", at, true)
    if not stop then return found end
    local word, rest = string.match(string.sub(text, at, stop - 1), "^(%S+) ?(.*)$")
    local batch = found.batches[#found.batches]
    at = stop + 1
    if word == "batch" then
      table.insert(found.batches, {{commands = {{}}, questions = {{}}, allowed = {{}}}})
    elseif word == "do" then
      table.insert(batch.commands, rest)
    elseif word == "check" then
      table.insert(batch.questions, rest)
      table.insert(batch.allowed, {{}})
    elseif word == "or" then
      table.insert(batch.allowed[#batch.allowed], rest)
    elseif word == "file" then
      local name, size = string.match(rest, "^(%S+) (%d+)$")
      table.insert(found.files, {{name = name, text = string.sub(text, at, at + size - 1)}})
      at = at + size
    end
  end
end

local function ask(commands)
  local socket = core.tcp()
  socket:settimeout(1)
  local said
  if socket:connect("unix@{SOCKET}") then
    socket:send(table.concat(commands, ";") .. "\n")
    said = socket:receive("*a")
  end
  socket:close()
  return said
end

local function holds(batch, said)
  local number = 0
  for answer in string.gmatch(said or "", "[^\r\n]+") do
    number = number + 1
    local good = false
    for _, beginning in ipairs(batch.allowed[number] or {{}}) do
      good = good or string.sub(answer, 1, #beginning) == beginning
    end
    if not good then return false end
  end
  return number == #batch.allowed
end

local function write_files(files)
  for _, file in ipairs(files) do write(file.name, file.text) end
end

local function restore()
  local todo = plan()
  for _, batch in ipairs(todo.batches) do
    if not ask(batch.commands) then break end
    -- Nothing is lowered before something else was raised.
    if not holds(batch, ask(batch.questions)) then break end
  end
  write_files(todo.files)
end

-- Before this process listens: no proxy starts without its socket, so none starts with the weights of before.
load()
end_if_due()
if lease and lease.holds and lease.ended_at then write_files(plan().files) end

core.register_task(function()
  while true do
    pcall(function()
      end_if_due()
      if lease and lease.holds and lease.ended_at then
        restoring = true
        pcall(restore)
        restoring = false
      end
    end)
    core.msleep(1000)
  end
end)

core.register_cli({{"lease"}}, "lease : who gives shared traffic back", function(applet, ...)
  local words = {{...}}
  if words[1] == "lease" then table.remove(words, 1) end
  local what, id, seconds = words[1], words[2], words[3]
  local answer
  end_if_due()
  if what == "show" then
    answer = line()
  elseif restoring then
    answer = "{BUSY}"
  elseif what == "grant" then
    lease = {{id = id, seconds = tonumber(seconds), holds = true}}
    extend()
    save()
    answer = line()
  elseif what == "renew" then
    if lease and not lease.ended_at and (not id or id == lease.id) then
      extend()
      save()
    end
    answer = line()
  elseif what == "end" or what == "forget" then
    answer = line()
    if lease and (what == "forget" or not lease.ended_at) then
      lease = nil
      os.remove("{STATE}")
    end
  elseif what == "take" then
    if lease and lease.ended_at then
      lease.holds = false
      save()
    end
    answer = line()
  end
  applet:send((answer or "?") .. "\n")
end)
"""
