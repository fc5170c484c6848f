"""The control plane's actions: reconcile, supervise, report."""
