require 'json'

def load_settings(path)
  settings = JSON.parse(File.read(path), symbolize_names: true)
  raise ArgumentError, 'port is missing' unless settings.key?(:port)

  settings
rescue Errno::ENOENT
  warn "#{path} does not exist, using defaults"
  { port: 8080 }
end

puts load_settings(ARGV.fetch(0, 'settings.json'))
