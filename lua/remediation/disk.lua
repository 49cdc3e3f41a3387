-- Makes room before a disk is full: old reports go first; a disk that is all but full also stops new uploads.
--
-- signal: { name, severity = "info" | "warning" | "critical", subject = "node/path", source, detail = { ... } }
-- detail.used is the part of the disk that is in use, 0 to 1.
-- Returns nothing, or { action = NAME, arguments = { ... } }.

local keep = { warning = 20, critical = 5 } -- newest reports that stay

local function decide(signal)
  if signal.name ~= "disk.low" then
    return nil
  end
  local detail = signal.detail or {}
  if signal.severity == "critical" and (detail.used or 0) >= 0.98 then
    return { action = "upload.pause", arguments = { subject = signal.subject } }
  end
  return {
    action = "disk.trim_reports",
    arguments = { subject = signal.subject, keep = keep[signal.severity] or 50 },
  }
end

local function low(severity, used)
  return {
    name = "disk.low",
    severity = severity,
    subject = "node-1/var",
    source = "disk",
    detail = { used = used },
  }
end

return {
  point = "remediation.on_signal",
  decide = decide,
  tests = {
    ["trims when the disk fills"] = function(decide)
      local decision = decide(low("warning", 0.9))
      assert(decision.action == "disk.trim_reports")
      assert(decision.arguments.keep == 20)
      assert(decision.arguments.subject == "node-1/var")
    end,
    ["keeps less when it is critical"] = function(decide)
      assert(decide(low("critical", 0.95)).arguments.keep == 5)
    end,
    ["pauses uploads when the disk is all but full"] = function(decide)
      assert(decide(low("critical", 0.99)).action == "upload.pause")
      assert(decide(low("warning", 0.99)).action == "disk.trim_reports", "a warning pauses nothing")
    end,
    ["leaves other signals alone"] = function(decide)
      assert(decide({ name = "memory.low", severity = "critical", subject = "node-1" }) == nil)
    end,
    ["gets along without detail"] = function(decide)
      assert(decide({ name = "disk.low", severity = "critical", subject = "x" }).action == "disk.trim_reports")
    end,
  },
}
