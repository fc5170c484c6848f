"""Who may do what: users, roles, sessions, API tokens, the audit log. In the daemon, which decides each call."""
