"""Ports to listen on, looked at before anything slow starts."""

import socket


def claim_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0.

    Args:
        host: name or address to listen on.
        port: 0 to 65535.

    Raises:
        ValueError: The port is out of range.
        OSError: Somebody listens there already, or this machine has no such address.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"the port is {port}; expected 1 to 65535, or 0 for a free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: the connections of one that has just ended do not matter.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except socket.gaierror as error:
        raise OSError(f"{host} is no address of this machine ({error.strerror})") from error
    except OSError as error:
        raise OSError(
            f"port {port} of {host} cannot be used ({error.strerror}); choose another by --port"
        ) from error
