-- Load for `ra-rec serve` and its peers: histories of 20 random items, the ten best asked for, no history twice.
--   ITEMS=17000 wrk -t1 -c1 -d15s --latency -s docs/lab/peers/load.lua http://127.0.0.1:8080
-- Ids are the numbers from 0; PREFIX stands before each, DIGITS pads them with zeros, ROW names the row that answers.
local items, row = tonumber(os.getenv("ITEMS") or "17000"), os.getenv("ROW")
local form = (os.getenv("PREFIX") or "") .. "%0" .. (os.getenv("DIGITS") or "1") .. "d"

function init(args)
  math.randomseed(tonumber(os.getenv("SEED") or "7"))
end

function request()
  local history = {}
  for n = 1, 20 do
    history[n] = '"' .. string.format(form, math.random(0, items - 1)) .. '"'
  end
  local body = '{"history":[' .. table.concat(history, ",") .. '],"top":10' .. (row and ',"row":"' .. row .. '"' or "") .. "}"
  return wrk.format("POST", "/v1/recommend", { ["Content-Type"] = "application/json" }, body)
end
