# Evaluates a Vagrantfile without Vagrant and prints what it asks for, as JSON: ruby vagrant_recorder.rb VAGRANTFILE
require "json"

class Recorder
  attr_reader :said

  def initialize
    @said = Hash.new { |all, key| all[key] = [] }
  end

  def vm
    self
  end

  def method_missing(name, *words, **options, &block)
    inner = Recorder.new
    block&.call(inner)
    @said[name.to_s.delete_suffix("=")] << { words: words, options: options, inner: inner.said }
  end

  def respond_to_missing?(*)
    true
  end
end

module Vagrant
  def self.configure(_version)
    config = Recorder.new
    yield config
    puts JSON.generate(config.said.merge("no_parallel" => ENV["VAGRANT_NO_PARALLEL"]))
  end
end

load File.expand_path(ARGV.fetch(0))
