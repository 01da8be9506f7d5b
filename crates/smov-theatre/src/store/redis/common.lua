-- Keys: user:ID, movie:ID, screening:ID, booking:ID are JSON strings, as the sample has them.
-- users, movies, screenings, bookings and screenings:movie:ID, bookings:user:ID are sorted sets of ids by age.
-- seats:SCREENING is a hash from seat to booking; idempotency:… a hash of the request's hash and the answer.
local PREFIX = { users = 'user:', movies = 'movie:', screenings = 'screening:', bookings = 'booking:' }
local OWNER = { screenings = 'screenings:movie:', bookings = 'bookings:user:' }

local function index(document, id, owner)
  local age = redis.call('INCR', 'theatre:sequence')
  redis.call('ZADD', document.table, 'NX', age, id)
  if owner and OWNER[document.table] then
    redis.call('ZADD', OWNER[document.table] .. owner, 'NX', age, id)
  end
end

-- cjson turns JSON's null into a value that is true.
local function given(value)
  if value == nil or value == cjson.null then return nil end
  return value
end
