-- One write, as a whole or not at all: every check comes before the first change.
-- KEYS[1] idempotency key; ARGV: hash, seconds to remember it, the write as JSON, mark for the id, mark for the seats.
local settled = redis.call('HMGET', KEYS[1], 'hash', 'answer')
if settled[1] then
  if settled[1] == ARGV[1] then return { 'replayed', settled[2] } end
  return { 'reused' }
end

local write = cjson.decode(ARGV[3])
local claim = given(write.seats)
local picked = {}
if claim then
  local taken = redis.call('HKEYS', 'seats:' .. claim.screening)
  local sold = {}
  for _, seat in ipairs(taken) do sold[seat] = true end
  local function free(group)
    for _, seat in ipairs(group) do
      if sold[seat] then return false end
    end
    return true
  end
  for _, group in ipairs(claim.plan.groups) do
    if free(group) then picked = group break end
  end
  if #picked == 0 then
    for _, seat in ipairs(claim.plan.singles) do
      if #picked == claim.plan.count then break end
      if not sold[seat] then picked[#picked + 1] = seat end
    end
    if #picked == 0 or #picked < claim.plan.count then
      local answer = { 'taken' }
      for _, seat in ipairs(taken) do answer[#answer + 1] = seat end
      return answer
    end
  end
end

local first = write.documents[1]
local id = given(write.chosen_id)
if id then
  if redis.call('EXISTS', PREFIX[first.table] .. id) == 1 then return { 'exists' } end
else
  repeat
    id = string.format('%d', redis.call('INCR', 'theatre:next:' .. first.table))
  until redis.call('EXISTS', PREFIX[first.table] .. id) == 0
end

for _, seat in ipairs(picked) do
  redis.call('HSET', 'seats:' .. claim.screening, seat, id)
end
local seats = '[]'
if #picked > 0 then seats = '["' .. table.concat(picked, '","') .. '"]' end
local function filled(text)
  if not given(text) then return nil end
  return (string.gsub(string.gsub(text, ARGV[4], id), ARGV[5], seats))
end
local answer
for _, document in ipairs(write.documents) do
  local key = filled(document.id)
  local body = filled(document.body)
  redis.call('SET', PREFIX[document.table] .. key, body)
  index(document, key, filled(document.owner))
  answer = answer or body
end
redis.call('HSET', KEYS[1], 'hash', ARGV[1], 'answer', answer)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return { 'stored', answer }
