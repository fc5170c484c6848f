"""From intent, facts and health to the kernel state wanted, and the ordered steps to reach it."""
