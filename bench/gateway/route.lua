-- Sends users of the business line "b" to other servers: what a policy of this kind costs is part of bench/gateway/run.sh.

local function decide(request)
  if request.headers["x-line"] == "b" then return { upstream = "other" } end
end

return {
  point = "gateway.route",
  decide = decide,
  tests = {
    ["sends the line b elsewhere"] = function(decide)
      assert(decide({ path = "/", headers = { ["x-line"] = "b" } }).upstream == "other")
    end,
    ["leaves the others to their route"] = function(decide)
      assert(decide({ path = "/", headers = {} }) == nil)
    end,
  },
}
