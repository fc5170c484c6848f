"""The workers' epoll loop: accept, decide, convert, relay."""
