-- A page of records and the length of the whole list. KEYS[1] index; ARGV: prefix, order, offset, limit.
local total = redis.call('ZCARD', KEYS[1])
local from = tonumber(ARGV[3])
local ids = redis.call(ARGV[2], KEYS[1], from, from + tonumber(ARGV[4]) - 1)
if #ids == 0 then return { total, {} } end
local keys = {}
for place, id in ipairs(ids) do keys[place] = ARGV[1] .. id end
local found = {}
for _, body in ipairs(redis.call('MGET', unpack(keys))) do
  if body then found[#found + 1] = body end
end
return { total, found }
