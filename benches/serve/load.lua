-- TOKENS: a file of bearer tokens, one a line; BODY: a file with the request's body. Every request takes the next token.
-- DELAY_MS: each connection waits as long on average between an answer and its next request, for less than the peak. The waits
-- are exponential, as of people who do not know of each other: with equal ones, what is answered together comes together again.
local tokens, at = {}, 0
for line in io.lines(os.getenv("TOKENS")) do tokens[#tokens + 1] = line end
local body = io.open(os.getenv("BODY")):read("a")
local path = os.getenv("TARGET_PATH")
at = math.floor((tonumber(os.getenv("OFFSET") or "0")) % #tokens)
local pause = tonumber(os.getenv("DELAY_MS") or "0")
if pause > 0 then
  math.randomseed(at)
  function delay() return math.floor(-math.log(1 - math.random()) * pause + 0.5) end
end
function request()
  at = at % #tokens + 1
  return wrk.format("POST", path, { ["content-type"] = "application/json", ["authorization"] = "Bearer " .. tokens[at] }, body)
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"seconds":%.3f,"p50_ms":%.3f,"p99_ms":%.3f,"bad":%d}\n', summary.requests,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.timeout + e.status))
end
