-- Compare and set: a record that changed since it was read keeps its seats. ARGV: the cancellation as JSON.
local change = cjson.decode(ARGV[1])
if redis.call('GET', PREFIX.bookings .. change.id) ~= change.before then return 0 end
redis.call('SET', PREFIX.bookings .. change.id, change.after)
for _, seat in ipairs(change.seats) do
  if redis.call('HGET', 'seats:' .. change.screening, seat) == change.id then
    redis.call('HDEL', 'seats:' .. change.screening, seat)
  end
end
return 1
