-- Refuses what nobody of good will asks for: probes of other people's software, and clients that say so themselves.
-- Beginnings and plain texts are looked for, no patterns, so that the time it takes is the same for all requests.
--
-- Returns nothing (the configuration's route), or { status = 403 or 404, ... }.
--
-- Needs policy = true at the routes that it is to decide about.

local beginnings = { "/.git", "/.env", "/wp-", "/phpmyadmin", "/cgi-bin/" }
local endings = { ".php", ".asp", ".bak", ".sql" }
local agents = { "sqlmap", "nikto", "masscan" } -- in lower case

local function is_probe(path)
  for i = 1, #beginnings do
    if string.sub(path, 1, #beginnings[i]) == beginnings[i] then
      return true
    end
  end
  for i = 1, #endings do
    if string.sub(path, -#endings[i]) == endings[i] then
      return true
    end
  end
  return false
end

local function decide(request)
  if is_probe(request.path) then
    return { status = 404 }
  end
  local agent = request.headers["user-agent"]
  if not agent then
    return nil
  end
  agent = string.lower(agent)
  for i = 1, #agents do
    if string.find(agent, agents[i], 1, true) then
      return { status = 403, body = "forbidden\n" }
    end
  end
end

local function request(path, agent)
  return { path = path, headers = { ["user-agent"] = agent, host = "a.example" } }
end

return {
  point = "gateway.route",
  decide = decide,
  tests = {
    ["probes find nothing"] = function(decide)
      for _, path in ipairs({ "/.git/config", "/.env", "/wp-login", "/index.php", "/dump.sql" }) do
        assert(decide(request(path)).status == 404)
      end
    end,
    ["tools that say so are refused"] = function(decide)
      assert(decide(request("/", "SQLMap/1.6")).status == 403)
    end,
    ["others pass"] = function(decide)
      assert(decide(request("/", "Mozilla/5.0")) == nil)
      assert(decide(request("/git/env/php.html")) == nil)
      assert(decide(request("/")) == nil)
    end,
  },
}
