"""What a system needs beside the code, as files: systemd's units."""
