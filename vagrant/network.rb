# Reads the lab's topology for the Vagrantfile. Everything is data of hagw/lab; `node.py` reads the same on the machines.
require "digest"
require "json"
require "yaml"

class HagwLab
  # One network card: `network` is the cable's name, `node` and `interface` the end of it that it is.
  Port = Struct.new(:network, :node, :interface, :ip, :netmask, :mac) do
    def mac_with_colons
      mac.scan(/../).join(":")
    end
  end
  Machine = Struct.new(:name, :nodes, :group, :packages, :memory_mb, :cpus, :ports)

  attr_reader :root, :machines, :box

  def initialize(directory)
    @root = File.expand_path("..", directory)
    data = File.join(@root, "hagw", "lab", "data")
    told = YAML.safe_load(File.read(File.join(directory, "machines.yaml")))
    @topology = YAML.safe_load(File.read(File.join(data, told["topology"])))
    @preset = YAML.safe_load(File.read(File.join(data, told["preset"])))
    @box = told["box"]
    @absent = told["absent"]
    @machines = told["machines"].map do |name, machine|
      Machine.new(name, machine["nodes"], machine["group"], machine["packages"] || [],
                  machine["memory_mb"] || told["memory_mb"], machine["cpus"] || told["cpus"], [])
    end
    @home = @machines.flat_map { |machine| machine.nodes.map { |node| [node, machine] } }.to_h
    networks.each { |name, ends| connect(name, ends) }
  end

  def groups
    @machines.select(&:group).group_by(&:group).transform_values { |found| found.map(&:name) }
  end

  # The configurations of the lab; CPEs enrol instead of having the lab's key.
  def host_vars
    @machines.select(&:group).to_h do |machine|
      config = @topology["nodes"][machine.nodes.first]["hagw"].reject { |key, _| %w[version role customers].include?(key) }
      gateways = config["gateways"]&.map { |gateway| gateway.reject { |key, _| %w[customer key].include?(key) } }
      config = config.merge("gateways" => gateways) if gateways
      variables = { "#{machine.group}_config" => quoted(config) }
      if gateways
        enrol = gateways.map { |gateway| { gateway: gateway["name"], at: gateway["name"] } }
        variables["hagw_cpe_enrol"] = quoted(enrol)
      end
      [machine.name, variables]
    end
  end

  def extra_vars
    { hagw_base_debs: [File.join(@root, "dist", "hagw_*+{suite}_{arch}.deb")], hagw_base_confirm_within: 300 }
  end

  # A shell script that makes a machine the nodes it is, now and at every boot.
  def install(machine)
    description = JSON.generate(
      nodes: machine.nodes.to_h { |node| [node, @topology["nodes"][node]] },
      cards: machine.ports.map { |port| { mac: port.mac_with_colons, node: port.node, interface: port.interface } },
      wires: wires.select { |ends| ends.all? { |node, _| @home[node] == machine } }.map { |ends| ends.map { |x| x.join("/") } },
      links: links
    )
    packages = machine.packages.empty? ? "" : "apt-get install -y -q --no-install-recommends #{machine.packages.join(' ')} || true"
    <<~SHELL
      set -eu
      install -D -m 0755 /tmp/hagw-lab/node.py /usr/local/lib/hagw-lab/node.py
      install -m 0644 /tmp/hagw-lab/node.service /etc/systemd/system/hagw-lab-node.service
      cat >/usr/local/lib/hagw-lab/node.json <<'EOF'
      #{description}
      EOF
      #{packages}
      systemctl daemon-reload
      systemctl enable hagw-lab-node.service
      systemctl restart hagw-lab-node.service
    SHELL
  end

  # Cables between nodes of different machines, by name: a link's own, a wire's after the end that is no router of providers.
  def networks
    named = links.to_h { |name, link| [name, [split(link["near"]), split(link["far"])]] }
    wires.each { |ends| named[ends.first.first] = ends }
    named.select { |_, ends| (ends.map(&:first) & @absent).empty? && ends.map { |node, _| @home.fetch(node) }.uniq.length == 2 }
  end

  private

  # As a word of the inventory that Vagrant writes: bare double quotes would be taken off there.
  def quoted(value)
    "'#{JSON.generate(value)}'"
  end

  def links
    @topology["links"].to_h { |name, link| [name, (@preset[name] || {}).merge(link)] }
  end

  def wires
    @topology["wires"].map { |ends| ends.map { |port| split(port) } }
  end

  def split(port)
    port.split("/", 2)
  end

  def connect(name, ends)
    ends.each_with_index do |(node, interface), index|
      ip = address(node, interface)
      mac = "026867#{Digest::SHA256.hexdigest(name)[0, 4]}#{format('%02x', index)}"
      @home[node].ports << Port.new("hagw-#{name}", node, interface, ip, "255.255.255.0", mac)
    end
  end

  # The IPv4 address of an interface, or of the bridge that it is a port of.
  def address(node, interface)
    interfaces = @topology["nodes"][node]["interfaces"]
    own = interfaces[interface] || interfaces.values.find { |each| (each["bridge"] || []).include?(interface) }
    own["addresses"].find { |each| !each.include?(":") }.split("/").first
  end
end
