"""The control channel between CPE and HAG: TLS 1.3, mutually authenticated, one JSON message a line."""
