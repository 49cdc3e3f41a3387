-- Some users have servers of their own: staff and testers see the next version first, everybody else what is released.
--
-- request: { path, method, host, headers, cookies, arguments, route, user, ... }
-- Returns nothing (the configuration's route), or { upstream = NAME, ... }.
--
-- Needs upstreams `app` and `app_next`, and policy = true at the routes that it is to decide about.

local testers = { ["7"] = true, ["42"] = true }
local routes = { app = true } -- where it applies; others stay as they are

local function decide(request)
  if not routes[request.route] then
    return nil
  end
  local user = request.headers["x-user"] or request.cookies.user
  if user and testers[user] then
    return { upstream = "app_next", request_fields = { ["X-Version"] = "next" } }
  end
end

local function request(user, cookie, route)
  return { route = route or "app", path = "/", headers = { ["x-user"] = user }, cookies = { user = cookie } }
end

return {
  point = "gateway.route",
  decide = decide,
  tests = {
    ["testers get the next version"] = function(decide)
      assert(decide(request("42")).upstream == "app_next")
      assert(decide(request("42")).request_fields["X-Version"] == "next")
    end,
    ["a cookie will do"] = function(decide)
      assert(decide(request(nil, "7")).upstream == "app_next")
    end,
    ["the header comes first"] = function(decide)
      assert(decide(request("1", "7")) == nil)
    end,
    ["others get what is released"] = function(decide)
      assert(decide(request("1")) == nil)
      assert(decide(request()) == nil)
    end,
    ["other routes are left alone"] = function(decide)
      assert(decide(request("42", nil, "static")) == nil)
    end,
  },
}
