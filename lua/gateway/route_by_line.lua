-- Each business line has servers of its own: what a request belongs to is said by a header, by the beginning of the
-- path, or by an argument of the query, in this order.
--
-- Returns nothing (the configuration's route), or { upstream = NAME, ... }.
--
-- Needs the upstreams of `lines`, and policy = true at the routes that it is to decide about.

local lines = { retail = "app_retail", trade = "app_trade" }

local function line_of(request)
  local line = request.headers["x-business-line"]
  if line then
    return line
  end
  line = string.match(request.path, "^/line/([a-z]+)")
  return line or request.arguments.line
end

local function decide(request)
  local line = line_of(request)
  local upstream = line and lines[line]
  if upstream then
    return { upstream = upstream, request_fields = { ["X-Business-Line"] = line } }
  end
end

local function request(header, path, argument)
  return {
    path = path or "/",
    headers = { ["x-business-line"] = header, host = "a.example" },
    arguments = { line = argument, page = "1" },
  }
end

return {
  point = "gateway.route",
  decide = decide,
  tests = {
    ["by the header"] = function(decide)
      local wish = decide(request("trade"))
      assert(wish.upstream == "app_trade")
      assert(wish.request_fields["X-Business-Line"] == "trade")
    end,
    ["by the path"] = function(decide)
      assert(decide(request(nil, "/line/retail/orders")).upstream == "app_retail")
    end,
    ["by the argument"] = function(decide)
      assert(decide(request(nil, "/orders", "trade")).upstream == "app_trade")
    end,
    ["the header comes first"] = function(decide)
      assert(decide(request("retail", "/line/trade", "trade")).upstream == "app_retail")
    end,
    ["unknown lines and none go where the configuration says"] = function(decide)
      assert(decide(request("other")) == nil)
      assert(decide(request()) == nil)
    end,
  },
}
