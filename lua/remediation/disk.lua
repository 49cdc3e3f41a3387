-- Makes room before a disk is full: old crash reports go first.
--
-- signal: { name, severity = "info" | "warning" | "critical", subject = PATH, source, detail = { ... } }
-- Returns nothing, or { action = NAME, arguments = { ... } }.

local keep = { ["disk.low"] = 20, ["disk.critical"] = 5 } -- newest reports that stay

local function decide(signal)
  if not keep[signal.name] then
    return nil
  end
  return {
    action = "disk.trim_reports",
    arguments = { keep = keep[signal.name], subject = signal.subject },
  }
end

local function signal(name)
  return { name = name, severity = "warning", subject = "/var", source = "detector/threshold", detail = { free_percent = 7.5 } }
end

return {
  point = "remediation.on_signal",
  decide = decide,
  tests = {
    ["trims when the disk fills"] = function(decide)
      local decision = decide(signal("disk.low"))
      assert(decision.action == "disk.trim_reports")
      assert(decision.arguments.keep == 20)
      assert(decision.arguments.subject == "/var")
    end,
    ["keeps less when it is critical"] = function(decide)
      assert(decide(signal("disk.critical")).arguments.keep == 5)
    end,
    ["leaves other signals alone"] = function(decide)
      assert(decide(signal("memory.low")) == nil)
    end,
  },
}
