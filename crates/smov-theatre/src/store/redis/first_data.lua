-- The first data, once. Records that are there already (the sample's redis-cli lines) are kept and indexed.
-- ARGV: the first data as JSON.
if not redis.call('SET', 'theatre:first-data', '1', 'NX') then return 0 end
local first = cjson.decode(ARGV[1])
local last = {}
for _, document in ipairs(first.documents) do
  redis.call('SET', PREFIX[document.table] .. document.id, document.body, 'NX')
  index(document, document.id, given(document.owner))
  last[document.table] = (last[document.table] or 0) + 1
end
for name, count in pairs(last) do
  redis.call('SET', 'theatre:next:' .. name, count, 'NX')
end
for _, held in ipairs(first.seats) do
  redis.call('HSETNX', 'seats:' .. held.screening, held.seat, held.booking)
end
return 1
