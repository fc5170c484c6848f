"""The daemon's HTTP API on its Unix socket."""
