"""The Lua scripts of the Redis store. Each refuses to write for a publisher that has lost its lock."""

from __future__ import annotations

RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
"""Lengthen the lease. KEYS: lock. ARGV: owner, milliseconds."""

RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
"""Free the lock. KEYS: lock. ARGV: owner."""

MERGE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('FEATDSL_LOCK_LOST') end
for i = 2, #ARGV, 2 do
  local record = ARGV[i + 1]
  if string.sub(record, 1, 1) == '+' then
    redis.call('HSET', KEYS[2], ARGV[i], string.sub(record, 2))
  else
    redis.call('HDEL', KEYS[2], ARGV[i])
  end
end
return 1
"""
"""Write some records of an overlay to its table. KEYS: lock, table. ARGV: owner, then keys and marked records."""

DROP_OVERLAY = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('FEATDSL_LOCK_LOST') end
redis.call('UNLINK', KEYS[2])
redis.call('SREM', KEYS[3], ARGV[2])
return 1
"""
"""Remove an overlay whose records are all in its table. KEYS: lock, overlay, set of overlays. ARGV: owner, table's name."""

REMOVE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('FEATDSL_LOCK_LOST') end
for i = 3, #KEYS do
  redis.call('UNLINK', KEYS[i])
  redis.call('SREM', KEYS[2], KEYS[i])
end
return 1
"""
"""Remove leftovers. KEYS: lock, set of leftovers, then the leftovers. ARGV: owner."""

UNSTAGE = "return -redis.call('HDEL', KEYS[1], unpack(ARGV))"
"""Delete staged records, and return by how many their number changes. KEYS: staged. ARGV: keys, at most some thousands."""

COMMIT = """
if redis.call('GET', KEYS[2]) == ARGV[2] then return 1 end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('FEATDSL_LOCK_LOST') end
local key, arg = 6, 5
for _ = 1, tonumber(ARGV[4]) do
  local kind, count = ARGV[arg], tonumber(ARGV[arg + 2])
  if kind == 'write' then
    arg = arg + 2 * count
  elseif redis.call('HLEN', KEYS[key + 1]) ~= count then
    return redis.error_reply('FEATDSL_STAGED_LOST')
  end
  key, arg = key + 4, arg + 3
end
key, arg = 6, 5
for _ = 1, tonumber(ARGV[4]) do
  local kind, name, count = ARGV[arg], ARGV[arg + 1], tonumber(ARGV[arg + 2])
  local whole, staged, overlay, trash = KEYS[key], KEYS[key + 1], KEYS[key + 2], KEYS[key + 3]
  key, arg = key + 4, arg + 3
  if kind == 'write' then
    for i = arg, arg + 2 * count - 1, 2 do
      local record = ARGV[i + 1]
      if string.sub(record, 1, 1) == '+' then
        redis.call('HSET', whole, ARGV[i], string.sub(record, 2))
      else
        redis.call('HDEL', whole, ARGV[i])
      end
    end
    arg = arg + 2 * count
  elseif kind == 'overlay' then
    redis.call('RENAME', staged, overlay)
    redis.call('SADD', KEYS[5], name)
  else
    if redis.call('EXISTS', whole) == 1 then
      redis.call('RENAME', whole, trash)
      redis.call('SADD', KEYS[4], trash)
    end
    if count > 0 then redis.call('RENAME', staged, whole) end
  end
end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('SET', KEYS[3], ARGV[3])
return 1
"""
"""Publish everything at once. It moves tables and writes small changes; it copies no table.

KEYS: lock, token, manifest, set of leftovers, set of overlays; then for each table: itself, staged records, overlay, trash.
ARGV: owner, token, manifest, number of tables; then for each table: `replace` (the staged records are the table), `overlay` (they
cover it) or `write`; its name; how many records are staged, or follow; those that follow, each a key and a marked record: `+`
and the record, or `-` for none.
"""
