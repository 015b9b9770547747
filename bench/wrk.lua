-- Usage: wrk -s wrk.lua URL -- METHOD PATH-PREFIX COUNT BODY-BYTES
-- Asks for PATH-PREFIX1 … PATH-PREFIX{COUNT} in turn, and reports in one line of JSON.
local requests, count, turn = {}, 0, 0

function init(args)
   count = tonumber(args[3])
   local body = nil
   if args[1] == "PUT" then
      body = string.rep("x", tonumber(args[4]))
   end
   for number = 1, count do
      requests[number] = wrk.format(args[1], args[2] .. number, nil, body)
   end
end

function request()
   turn = turn % count + 1
   return requests[turn]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "refused": %d, "broken": %d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
