"""The proxy between this process and an API server, by the environment variables and rules that kubectl follows.

httpx knows no networks in NO_PROXY, where a company's Pods have the network of the API server.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit
from urllib.request import getproxies

_PORTS = {"http": 80, "https": 443}


def proxy_for(url: str, proxies: Mapping[str, str] | None = None) -> str | None:
    """Return the proxy for a URL, None for none.

    `proxies` has a proxy by scheme and, as `no`, the exceptions; by default HTTPS_PROXY, NO_PROXY etc. An exception is
    an address, a network such as 10.0.0.0/8, a domain (for its subdomains too), ".domain" for subdomains alone, or "*";
    addresses and domains may have a port.
    """
    proxies = getproxies() if proxies is None else proxies
    parts = urlsplit(url)
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    host, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme)
    if not proxy or _is_local(host):
        return None
    if any(_covers(exception.strip().lower(), host, port) for exception in proxies.get("no", "").split(",")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _covers(exception: str, host: str, port: int | None) -> bool:
    if exception == "*":
        return True
    if "/" in exception:
        return _is_in_network(host, exception)
    name, has_port = _split_port(exception)
    if not name or (has_port is not None and has_port != port):
        return False
    if address := _address(name):
        return address == _address(host)
    domain = name.removeprefix("*").rstrip(".")
    return host.endswith(domain if domain.startswith(".") else f".{domain}") or host == domain


def _split_port(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        name, _, rest = text[1:].partition("]")
        return name, int(rest[1:]) if rest[1:].isdecimal() else None
    name, _, port = text.rpartition(":")
    return (name, int(port)) if name and ":" not in name and port.isdecimal() else (text, None)


def _is_in_network(host: str, network: str) -> bool:
    address = _address(host)
    try:
        return address is not None and address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _is_local(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
