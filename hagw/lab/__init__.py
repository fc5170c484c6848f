"""Network namespaces, emulated links and scenarios: shows the product at work, and tests it."""
