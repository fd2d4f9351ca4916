local function split(text, separator)
  local parts = {}
  for part in string.gmatch(text, "([^" .. separator .. "]+)") do
    table.insert(parts, part)
  end
  return parts
end

for index, part in ipairs(split("red,green,blue", ",")) do
  print(index .. ": " .. part)
end
