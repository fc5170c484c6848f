"""What the gateway observes by itself: kernel events and echo measurements per uplink."""
