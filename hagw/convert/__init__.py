"""RFC 8803 (0-RTT TCP Convert Protocol) alone: no input or output, no clock."""
