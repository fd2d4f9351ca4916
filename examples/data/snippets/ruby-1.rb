require 'set'

class Graph
  def initialize
    @edges = Hash.new { |hash, key| hash[key] = Set.new }
  end

  def connect(from, to)
    @edges[from] << to
    @edges[to] << from
    self
  end

  def neighbours(node)
    @edges[node].to_a.sort
  end
end

puts Graph.new.connect(:a, :b).connect(:a, :c).neighbours(:a).inspect
