"""Every Lua script: what must happen whole or not at all, in one round trip.

Written to the command set of Redis 6.2. Keys are made and answers read by `state.py` and
`catalogs.py`; a script knows no key by name.
"""

# Find the impression that feedback speaks of.
# KEYS: what was said under this Idempotency-Key, or ""; the user's last impression's id, or "".
# ARGV: prefix of impression keys; impression id, or "" for the user's last.
# Answers {said under the key or nil, impression id or nil, impression or nil}.
JOIN = """
local said = KEYS[1] ~= '' and redis.call('GET', KEYS[1])
local id = ARGV[2] ~= '' and ARGV[2] or KEYS[2] ~= '' and redis.call('GET', KEYS[2])
return {said, id, id and redis.call('GET', ARGV[1] .. id)}
"""

# Keep a labelled query group, once.
# KEYS: 1 what was said under this Idempotency-Key, or ""; 2 what was said of this prediction; 3 inbox;
#       4 the user's accepted operations, or ""; 5.. sorted sets of what followed what.
# ARGV: 1 hash of the request .. prediction id; 2 hash of what is said of the prediction; 3 group; 4 cap of the inbox;
#       5 seconds 1 is kept; 6 seconds 2 is kept; 7 seconds counts are kept; 8 most members of a count;
#       9 accepted operation, or ""; 10 what followed what, or "".
# Answers recorded | duplicate | conflict | full. The hash in ARGV[1] and KEYS[1] is 32 characters long.
RECORD = """
local said = KEYS[1] ~= '' and redis.call('GET', KEYS[1])
if said then
  return string.sub(said, 1, 32) == string.sub(ARGV[1], 1, 32) and 'duplicate' or 'conflict'
end
local before = redis.call('GET', KEYS[2])
if before and before ~= ARGV[2] then return 'conflict' end
if not before then
  if redis.call('XLEN', KEYS[3]) >= tonumber(ARGV[4]) then return 'full' end
  redis.call('XADD', KEYS[3], '*', 'group', ARGV[3])
  redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[6])
  if KEYS[4] ~= '' and ARGV[9] ~= '' and redis.call('SCARD', KEYS[4]) < tonumber(ARGV[8]) then
    redis.call('SADD', KEYS[4], ARGV[9])
    redis.call('EXPIRE', KEYS[4], ARGV[7])
  end
  if ARGV[10] ~= '' then
    for i = 5, #KEYS do
      redis.call('ZREMRANGEBYRANK', KEYS[i], 0, -tonumber(ARGV[8]))
      redis.call('ZINCRBY', KEYS[i], 1, ARGV[10])
      redis.call('EXPIRE', KEYS[i], ARGV[7])
    end
  end
end
if KEYS[1] ~= '' then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[5]) end
return before and 'duplicate' or 'recorded'
"""

# Name an uploaded spec; one no longer named goes.
# KEYS: names (hash: name -> record), references (hash: digest -> how many names), spec under its new digest.
# ARGV: name; record; digest; bytes; most names; prefix of upload keys.
# Answers 1, or 0 when there are too many names.
PUT_UPLOAD = """
local old = redis.call('HGET', KEYS[1], ARGV[1])
if not old and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then return 0 end
local digest = old and cmsgpack.unpack(old).digest
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('SET', KEYS[3], ARGV[4])
if digest == ARGV[3] then return 1 end
redis.call('HINCRBY', KEYS[2], ARGV[3], 1)
if digest and redis.call('HINCRBY', KEYS[2], digest, -1) <= 0 then
  redis.call('HDEL', KEYS[2], digest)
  redis.call('DEL', ARGV[6] .. digest)
end
return 1
"""

# Take a name away; a spec no longer named goes.
# KEYS: names, references. ARGV: name; prefix of upload keys. Answers 1, or 0 when there was no such name.
DELETE_UPLOAD = """
local old = redis.call('HGET', KEYS[1], ARGV[1])
if not old then return 0 end
local digest = cmsgpack.unpack(old).digest
redis.call('HDEL', KEYS[1], ARGV[1])
if redis.call('HINCRBY', KEYS[2], digest, -1) <= 0 then
  redis.call('HDEL', KEYS[2], digest)
  redis.call('DEL', ARGV[2] .. digest)
end
return 1
"""

# A lease: KEYS: lease. ARGV: token; milliseconds. Each answers 1 or 0.
ACQUIRE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2]) or 0
"""

RENEW = """
return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2]) or 0
"""

RELEASE = """
return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0
"""
