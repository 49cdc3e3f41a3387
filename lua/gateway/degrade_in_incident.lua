-- When no server can answer: reads go to servers that only read, prices are answered from a table, and everything else
-- is told to come again, in words that a client can show.
--
-- request: as for gateway.route.  error: { status, reason, upstream, tries, can_forward, milliseconds }
-- Returns nothing (what the configuration says), or { upstream = NAME } or { status = N, body = TEXT, type = TEXT }.
--
-- Needs an upstream `app_readonly`, and policy = true at the routes that it is to decide about.

local readers = { app = "app_readonly" } -- by the upstream that fails
local body = '{"degraded":true,"message":"We are working on it. Please try again in a minute."}\n'

local function decide(request, error)
  local method = request.method
  local reader = readers[error.upstream]
  if reader and error.can_forward and (method == "GET" or method == "HEAD") then
    return { upstream = reader, fields = { ["X-Degraded"] = "readonly" } }
  end
  if request.path == "/v1/prices" then
    return { status = 200, type = "application/json", body = '{"prices":[],"degraded":true}\n' }
  end
  return { status = 503, type = "application/json", body = body, fields = { ["X-Degraded"] = error.status } }
end

local function failure(upstream, can_forward)
  return { status = 502, reason = "no server could answer", upstream = upstream, can_forward = can_forward }
end

return {
  point = "gateway.on_error",
  decide = decide,
  tests = {
    ["reads go to the readers"] = function(decide)
      local wish = decide({ method = "GET", path = "/orders/7" }, failure("app", true))
      assert(wish.upstream == "app_readonly")
      assert(wish.fields["X-Degraded"] == "readonly")
    end,
    ["writes do not"] = function(decide)
      local wish = decide({ method = "POST", path = "/orders" }, failure("app", true))
      assert(wish.upstream == nil and wish.status == 503)
      assert(string.find(wish.body, "try again", 1, true))
    end,
    ["nor where nothing can be forwarded any more"] = function(decide)
      assert(decide({ method = "GET", path = "/orders/7" }, failure("app", false)).status == 503)
    end,
    ["prices are there when the readers fail as well"] = function(decide)
      local wish = decide({ method = "GET", path = "/v1/prices" }, failure("app_readonly", true))
      assert(wish.status == 200 and wish.type == "application/json")
    end,
  },
}
