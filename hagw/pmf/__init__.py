"""Per-uplink measurement between CPE and HAG, in the manner of 3GPP PMF: wire format and responder alone."""
