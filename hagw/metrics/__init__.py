"""What monitoring reads: a list of metrics over the status document, and how it is told in Prometheus' text format."""
