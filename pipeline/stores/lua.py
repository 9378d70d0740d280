"""Every Lua script: what must happen whole or not at all, in one round trip.

Written to the command set of Redis 6.2. Keys are made and answers read by `state.py` and
their neighbours; a script knows no key by name.
"""

# What a prediction wants to know before it begins.
# KEYS: 1 uploads of the tenant; 2, 3 the record of the spec's URL, public and the tenant's; 4 accepted operations;
#       5 losses; 6, 7 prompts of the lineage and of the user, or ""; 8.. sorted sets of what followed what.
# ARGV: name of the upload; most losses, prompts of the lineage, prompts of the user, members of a sorted set.
# Answers {upload or nil, spec or nil, spec or nil, accepted, losses, prompts, prompts, {member, count ...} ...}.
RECALL = """
local function range(list, most) return list ~= '' and redis.call('LRANGE', list, 0, most - 1) or {} end
local found = {
  redis.call('HGET', KEYS[1], ARGV[1]), redis.call('GET', KEYS[2]), redis.call('GET', KEYS[3]),
  redis.call('SMEMBERS', KEYS[4]), range(KEYS[5], ARGV[2]), range(KEYS[6], ARGV[3]), range(KEYS[7], ARGV[4])
}
for i = 8, #KEYS do found[i] = redis.call('ZREVRANGE', KEYS[i], 0, ARGV[5] - 1, 'WITHSCORES') end
return found
"""

# Keep an impression.
# KEYS: 1 the impression; 2 its user's last one, or ""; 3 the user's last suggestion, or ""; 4 the user's open ones, or
#       ""; 5 counts of the experiment, or ""; 6 experiments.
# ARGV: impression; its id; its time; seconds it is kept; most open ones; experiment; what to count of it; seconds the
#       counts are kept; most experiments.
REMEMBER = """
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[4])
for i = 2, 3 do
  if KEYS[i] ~= '' then redis.call('SET', KEYS[i], ARGV[2], 'EX', ARGV[4]) end
end
if KEYS[4] ~= '' then
  redis.call('ZADD', KEYS[4], ARGV[3], ARGV[2])
  redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -ARGV[5] - 1)
  redis.call('EXPIRE', KEYS[4], ARGV[4])
end
if KEYS[5] ~= '' then
  redis.call('HINCRBY', KEYS[5], ARGV[7], 1)
  redis.call('EXPIRE', KEYS[5], ARGV[8])
  redis.call('ZADD', KEYS[6], ARGV[3], ARGV[6])
  redis.call('ZREMRANGEBYRANK', KEYS[6], 0, -ARGV[9] - 1)
  redis.call('EXPIRE', KEYS[6], ARGV[8])
end
"""

# Find the impression that feedback, or an event of a proposition, speaks of, and what is kept of it.
# KEYS: what was said under this Idempotency-Key, or ""; the id of the user's last impression or suggestion, or "".
# ARGV: prefixes of impressions, of what was said of them, of marks; id, or "" for the user's last.
# Answers {said under the key or nil, id or nil, {impression or nil, said of it or nil, marks as a flat list}}.
JOIN = """
local said = KEYS[1] ~= '' and redis.call('GET', KEYS[1])
local id = ARGV[4] ~= '' and ARGV[4] or KEYS[2] ~= '' and redis.call('GET', KEYS[2])
local kept = {false, false, {}}
if id then
  kept = {redis.call('GET', ARGV[1] .. id), redis.call('GET', ARGV[2] .. id), redis.call('HGETALL', ARGV[3] .. id)}
end
return {said, id, kept}
"""

# What every script shares that moves what is learnt; `told` is {decay, most members, seconds counts are kept}, `arms`
# what an experiment counts: {hash, seconds it is kept, field, amount ...}, or {}.
# An observation in a context (see counts.py) ages what is known of the context, then adds itself.
_FOLLOW = """
local function follow(set, told, last, two, following, amount)
  local contexts = two ~= '' and {last .. '\\31', two .. '\\31'} or {last .. '\\31'}
  local factor = told[1] ^ amount
  if factor < 1 then
    local held = redis.call('ZRANGE', set, 0, -1, 'WITHSCORES')
    for i = 1, #held, 2 do
      for _, context in ipairs(contexts) do
        if string.sub(held[i], 1, #context) == context and not string.find(held[i], '\\31', #context + 1, true) then
          local count = held[i + 1] * factor
          if count < 0.02 then redis.call('ZREM', set, held[i]) else redis.call('ZADD', set, count, held[i]) end
        end
      end
    end
  end
  redis.call('ZREMRANGEBYRANK', set, 0, -(told[2] - 2 * #contexts + 1))
  for _, context in ipairs(contexts) do
    redis.call('ZINCRBY', set, amount, context)
    redis.call('ZINCRBY', set, amount, context .. following)
  end
  redis.call('EXPIRE', set, told[3])
end

local function remember(list, entry, most, seconds)
  redis.call('LPUSH', list, entry)
  redis.call('LTRIM', list, 0, most - 1)
  redis.call('EXPIRE', list, seconds)
end

local function count(moves)
  for i = 3, #moves, 2 do redis.call('HINCRBY', moves[1], moves[i], moves[i + 1]) end
  if #moves > 0 then redis.call('EXPIRE', moves[1], moves[2]) end
end

local function deliver(inbox, inboxes, tenant, group)
  redis.call('XADD', inbox, '*', 'group', group)
  redis.call('SADD', inboxes, tenant)
end
"""

# Keep a labelled query group, once, and move what is learnt.
# KEYS: 1 what was said under this Idempotency-Key, or ""; 2 what was said of this prediction; 3 inbox; 4 inboxes;
#       5 the impression; 6 the user's accepted operations, or ""; 7 prompts of the lineage; 8 of the user, or "";
#       9 losses of the lineage; 10 marks; 11.. sorted sets of what followed what.
# ARGV: 1 group; 2 msgpack map: request (hash .. prediction id), statement (hash), seen (hash that the same choice has
#       when it was observed), edition (of the marks as they were read), chosen, accepted, tenant, cap, once_s, join_s,
#       told, last, two, amount, prompts_max, prompts_user_max, losses_max, arms; 3 entry of the prompt memory, or "";
#       4 what the experts lost, or "".
# Answers recorded | duplicate | conflict | full | gone | moved. Hashes are 32 characters long.
RECORD = (
    _FOLLOW
    + """
local a = cmsgpack.unpack(ARGV[2])
local said = KEYS[1] ~= '' and redis.call('GET', KEYS[1])
if said then
  return string.sub(said, 1, 32) == string.sub(a.request, 1, 32) and 'duplicate' or 'conflict'
end
local before = redis.call('GET', KEYS[2])
local statement = before and string.sub(before, 1, 32)
if before and statement ~= a.statement and statement ~= a.seen then return 'conflict' end
if not before then
  if redis.call('EXISTS', KEYS[5]) == 0 then return 'gone' end
  if (redis.call('HGET', KEYS[10], '') or '') ~= a.edition then return 'moved' end
  if redis.call('XLEN', KEYS[3]) >= a.cap then return 'full' end
  deliver(KEYS[3], KEYS[4], a.tenant, ARGV[1])
  redis.call('SET', KEYS[2], a.statement .. a.chosen, 'EX', a.join_s)
  if a.chosen ~= '' and a.amount > 0 then
    for i = 11, #KEYS do follow(KEYS[i], a.told, a.last, a.two, a.chosen, a.amount) end
  end
  if ARGV[4] ~= '' then remember(KEYS[9], ARGV[4], a.losses_max, a.told[3]) end
  if ARGV[3] ~= '' then
    remember(KEYS[7], ARGV[3], a.prompts_max, a.told[3])
    if KEYS[8] ~= '' then remember(KEYS[8], ARGV[3], a.prompts_user_max, a.told[3]) end
  end
  count(a.arms)
end
if KEYS[6] ~= '' and a.accepted ~= '' and redis.call('SCARD', KEYS[6]) < a.told[2] then
  redis.call('SADD', KEYS[6], a.accepted)
  redis.call('EXPIRE', KEYS[6], a.told[3])
end
if KEYS[1] ~= '' then redis.call('SET', KEYS[1], a.request, 'EX', a.once_s) end
return before and 'duplicate' or 'recorded'
"""
)

# What is known of a user before observed calls are told apart.
# KEYS: 1 tail; 2 seen; 3 open predictions.
# ARGV: prefixes of impressions, of what was said of them, of marks; ids of the calls ...
# Answers {tail or nil, {when each call was seen, or nil}, {{prediction id, {as JOIN answers it}} ...}}.
SIGHT = """
local seen, open = {}, {}
for i = 4, #ARGV do seen[i - 3] = redis.call('ZSCORE', KEYS[2], ARGV[i]) end
for i, id in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
  open[i] = {
    id, {redis.call('GET', ARGV[1] .. id), redis.call('GET', ARGV[2] .. id), redis.call('HGETALL', ARGV[3] .. id)}
  }
end
return {redis.call('GET', KEYS[1]), seen, open}
"""

# Keep observed calls, each once: close the predictions they answer, move what is learnt.
# KEYS: 1 tail; 2 seen; 3 open predictions; 4 inbox; 5 inboxes; 6 prompts of the lineage; 7 of the user;
#       8 losses of the lineage; 9.. sorted sets of what followed what, of the lineage and of the user in turn.
# ARGV: 1 tail as it was read, or ""; 2 new tail; 3 msgpack map: now, tenant, cap, once_s, join_s, told, prompts_max,
#       prompts_user_max, losses_max, seen_max, impression, once, marks (prefixes), calls: {{id, operation or "", set
#       (number of the first of its two KEYS, 0 for none), last, two, {{prediction id, once value, number of its group
#       in ARGV, of its entry or 0, of what the experts lost or 0, arms, edition of its marks} ...}, amount} ...};
#       4.. groups, entries and losses.
# Answers {kept | moved | full, number of calls kept, ids of the predictions closed}.
WITNESS = (
    _FOLLOW
    + """
local a = cmsgpack.unpack(ARGV[3])
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return {'moved', 0, {}} end
local groups = 0
for _, call in ipairs(a.calls) do
  groups = groups + #call[6]
  for _, closing in ipairs(call[6]) do
    if (redis.call('HGET', a.marks .. closing[1], '') or '') ~= closing[7] then return {'moved', 0, {}} end
  end
end
if groups > 0 and redis.call('XLEN', KEYS[4]) + groups > a.cap then return {'full', 0, {}} end
local kept, closed = 0, {}
for _, call in ipairs(a.calls) do
  local id, operation, set = call[1], call[2], call[3]
  if redis.call('ZADD', KEYS[2], 'NX', a.now, id) == 1 then
    kept = kept + 1
    local counted = false
    for _, closing in ipairs(call[6]) do
      local once = a.once .. closing[1]
      local before = redis.call('GET', once)
      if before then
        counted = counted or string.sub(before, 33) == operation
      elseif redis.call('EXISTS', a.impression .. closing[1]) == 1 then
        redis.call('SET', once, closing[2], 'EX', a.join_s)
        deliver(KEYS[4], KEYS[5], a.tenant, ARGV[closing[3]])
        closed[#closed + 1] = closing[1]
        if closing[4] > 0 then
          remember(KEYS[6], ARGV[closing[4]], a.prompts_max, a.told[3])
          remember(KEYS[7], ARGV[closing[4]], a.prompts_user_max, a.told[3])
        end
        if closing[5] > 0 then remember(KEYS[8], ARGV[closing[5]], a.losses_max, a.told[3]) end
        count(closing[6])
      end
      redis.call('ZREM', KEYS[3], closing[1])
    end
    if set > 0 and not counted then
      follow(KEYS[set], a.told, call[4], call[5], operation, call[7])
      follow(KEYS[set + 1], a.told, call[4], call[5], operation, call[7])
    end
  end
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', a.once_s)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', a.now - a.once_s)
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -a.seen_max - 1)
redis.call('EXPIRE', KEYS[2], a.once_s)
return {'kept', kept, closed}
"""
)

# Mark what happened to a proposition of a suggestion, once.
# KEYS: 1 what was said under this Idempotency-Key, or ""; 2 marks; 3 inbox; 4 inboxes; 5 the impression; 6 tally;
#       7 prompts of the lineage; 8 of the user, or ""; 9 losses of the lineage; 10 what was said of this suggestion;
#       11.. sorted sets of what followed what.
# ARGV: 1 group, or ""; 2 msgpack map: request (hash .. suggestion id), proposition, event, edition (of the marks as
#       they were read), statement (of what was said, as it was read), after (its new mark), operation, tenant, cap,
#       once_s, join_s, told, last, two, amount, prompts_max, prompts_user_max, losses_max, arms; 3 entry of the prompt
#       memory, or ""; 4 what the experts lost, or "".
# Answers recorded | duplicate | conflict | full | gone | moved.
MARK = (
    _FOLLOW
    + """
local a = cmsgpack.unpack(ARGV[2])
local said = KEYS[1] ~= '' and redis.call('GET', KEYS[1])
if said then
  return string.sub(said, 1, 32) == string.sub(a.request, 1, 32) and 'duplicate' or 'conflict'
end
if (redis.call('HGET', KEYS[2], '') or '') ~= a.edition then return 'moved' end
if string.sub(redis.call('GET', KEYS[10]) or '', 1, 32) ~= a.statement then return 'moved' end
local before = redis.call('HGET', KEYS[2], a.proposition) or ''
local known = before == a.after
if not known then
  if redis.call('EXISTS', KEYS[5]) == 0 then return 'gone' end
  if ARGV[1] ~= '' then
    if redis.call('XLEN', KEYS[3]) >= a.cap then return 'full' end
    deliver(KEYS[3], KEYS[4], a.tenant, ARGV[1])
  end
  redis.call('HSET', KEYS[2], a.proposition, a.after)
  redis.call('HINCRBY', KEYS[2], '', 1)
  redis.call('EXPIRE', KEYS[2], a.join_s)
  redis.call('HINCRBY', KEYS[6], a.event .. '\\31' .. a.proposition, 1)
  redis.call('EXPIRE', KEYS[6], a.told[3])
  if a.amount > 0 then
    for i = 11, #KEYS do follow(KEYS[i], a.told, a.last, a.two, a.operation, a.amount) end
  end
  if ARGV[4] ~= '' then remember(KEYS[9], ARGV[4], a.losses_max, a.told[3]) end
  if ARGV[3] ~= '' then
    remember(KEYS[7], ARGV[3], a.prompts_max, a.told[3])
    if KEYS[8] ~= '' then remember(KEYS[8], ARGV[3], a.prompts_user_max, a.told[3]) end
  end
  count(a.arms)
end
if KEYS[1] ~= '' then redis.call('SET', KEYS[1], a.request, 'EX', a.once_s) end
return known and 'duplicate' or 'recorded'
"""
)

# Take the oldest groups of an inbox to drain, the same ones until they are acknowledged.
# KEYS: inbox; claim. ARGV: most groups. Answers nil, or {first id .. " " .. last id, entries}.
CLAIM = """
local claim = redis.call('GET', KEYS[2])
if not claim then
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[1])
  if #oldest == 0 then return false end
  claim = oldest[1][1] .. ' ' .. oldest[#oldest][1]
  redis.call('SET', KEYS[2], claim)
end
local first, last = string.match(claim, '(%S+) (%S+)')
return {claim, redis.call('XRANGE', KEYS[1], first, last)}
"""

# The claimed groups up to an id are in the journal: they go.
# KEYS: inbox; claim; inboxes. ARGV: claim; last id; tenant. Answers 1, or 0 when it is another claim by now.
ACKNOWLEDGE = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local ms, seq = string.match(ARGV[2], '(%d+)-(%d+)')
redis.call('XTRIM', KEYS[1], 'MINID', ms .. '-' .. string.format('%d', seq + 1))
redis.call('DEL', KEYS[2])
if redis.call('XLEN', KEYS[1]) == 0 then redis.call('SREM', KEYS[3], ARGV[3]) end
return 1
"""

# Take a user's counts out of the lineage's. KEYS: the user's set; the lineage's set.
# The user's own counts age by fewer observations, so that at least the user's share goes.
SUBTRACT = """
local own = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #own, 2 do
  local left = redis.call('ZINCRBY', KEYS[2], -own[i + 1], own[i])
  if tonumber(left) < 0.02 then redis.call('ZREM', KEYS[2], own[i]) end
end
redis.call('DEL', KEYS[1])
return #own / 2
"""

# Take a user's entries out of a prompt memory. KEYS: list. ARGV: hash of the user. Answers how many went.
DISOWN = """
local gone = 0
for _, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if cmsgpack.unpack(entry)[5] == ARGV[1] then gone = gone + redis.call('LREM', KEYS[1], 0, entry) end
end
return gone
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

# May this request be, by GCRA (a leaky bucket that keeps one moment: github.com/brandur/redis-cell).
# KEYS: for each bucket: the moment at which it is empty again; refusals of the last minute; the block.
# ARGV: 1 now in microseconds, or "" for Redis's clock; 2 for how many microseconds it is blocked; then for each
#       bucket: microseconds a request takes to leak, how many there may be in it, refusals after which it is blocked.
# All of the buckets take the request, or none. Answers {wait in microseconds, number of the bucket that refused or 0,
# is it blocked, then for each bucket: how many more it takes now, microseconds until it is empty}.
RATE = """
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local wait, which, blocked = 0, 0, 0
for i = 1, #KEYS / 3 do
  local ends = tonumber(redis.call('GET', KEYS[3 * i]) or 0)
  if ends - now > wait then wait, which, blocked = ends - now, i, 1 end
end
local empty, told = {}, {}
for i = 1, #KEYS / 3 do
  local leak, size = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  empty[i] = math.max(now, tonumber(redis.call('GET', KEYS[3 * i - 2]) or 0))
  local over = empty[i] + leak - size * leak - now
  if blocked == 0 and over > wait then wait, which = over, i end
end
for i = 1, #KEYS / 3 do
  local leak, size = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  if wait == 0 then
    empty[i] = empty[i] + leak
    redis.call('SET', KEYS[3 * i - 2], string.format('%.0f', empty[i]), 'PX', math.ceil((empty[i] - now) / 1000))
  end
  told[2 * i - 1] = math.max(0, math.floor((now + size * leak - empty[i]) / leak))
  told[2 * i] = empty[i] - now
end
if wait > 0 and blocked == 0 then
  local refusals = redis.call('INCR', KEYS[3 * which - 1])
  if refusals == 1 then redis.call('PEXPIRE', KEYS[3 * which - 1], 60000) end
  if refusals >= tonumber(ARGV[3 * which + 2]) then
    blocked, wait = 1, tonumber(ARGV[2])
    redis.call('SET', KEYS[3 * which], string.format('%.0f', now + wait), 'PX', math.ceil(wait / 1000))
    redis.call('DEL', KEYS[3 * which - 1])
  end
end
return {wait, which, blocked, unpack(told)}
"""

# Reserve, once, what a request may cost at most, unless a budget would be overrun; what is reserved counts as spent
# until SETTLE puts what it really cost in its place. KEYS: the day of the service; of the tenant; the token.
# ARGV: amount; most that the service may have spent with it; the tenant; seconds the day is kept, the token.
# Answers {1 or 0, spent, spent of the tenant}.
RESERVE = """
local all = tonumber(redis.call('HGET', KEYS[1], 'spent') or '0')
local own = tonumber(redis.call('HGET', KEYS[2], 'spent') or '0')
if redis.call('EXISTS', KEYS[3]) == 1 then return {1, all, own} end
if all + ARGV[1] > tonumber(ARGV[2]) or own + ARGV[1] > tonumber(ARGV[3]) then return {0, all, own} end
for i = 1, 2 do
  redis.call('HINCRBY', KEYS[i], 'spent', ARGV[1])
  redis.call('EXPIRE', KEYS[i], ARGV[4])
end
redis.call('SET', KEYS[3], '', 'EX', ARGV[5])
return {1, all + ARGV[1], own + ARGV[1]}
"""

# Count on a day, once. KEYS: the day of the service; of the tenant; the token. ARGV: what `spent` moves by; seconds the
# day is kept, the token; field, amount ... of the tenant. Answers {spent, spent of the tenant}.
SETTLE = """
local is_new = redis.call('SET', KEYS[3], '', 'NX', 'EX', ARGV[3])
local spent = {}
for i = 1, 2 do
  spent[i] = redis.call('HINCRBY', KEYS[i], 'spent', is_new and ARGV[1] or 0)
  redis.call('EXPIRE', KEYS[i], ARGV[2])
end
for i = 4, is_new and #ARGV or 0, 2 do redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1]) end
return spent
"""
