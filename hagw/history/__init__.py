"""What was: time series of the lines and events, on disk, in bounded space."""
