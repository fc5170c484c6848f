"""What somebody should be told at once: alerts out of the status document, and webhooks that carry them."""
