"""`hagw web`: TLS, cookies and static files before the daemon's API. Has no rights and reaches nothing but a socket."""
