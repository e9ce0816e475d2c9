-- POSTs the bodies of a file (one a line) in turn, and prints one line of figures that closed_loop.py reads.
-- wrk -s cycle.lua URL -- FILE

local requests, count, turn = {}, 0, 0

function init(args)
  for body in io.lines(args[1]) do
    count = count + 1
    requests[count] = wrk.format("POST", nil, { ["Content-Type"] = "application/json" }, body)
  end
end

function request()
  turn = turn % count + 1
  return requests[turn]
end

function done(summary, latency, _)
  local e = summary.errors
  print(string.format("FIGURES %d %d %d %d %d %d", summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
