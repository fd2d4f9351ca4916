module Temperature
  def self.to_fahrenheit(celsius)
    celsius * 9.0 / 5 + 32
  end
end

readings = { monday: 14, tuesday: 17.5, wednesday: nil }

readings.each do |day, celsius|
  next if celsius.nil?

  puts "#{day.to_s.capitalize}: #{Temperature.to_fahrenheit(celsius).round(1)}"
end
