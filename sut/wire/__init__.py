"""All that crosses a process border: messages, sockets, keys."""
